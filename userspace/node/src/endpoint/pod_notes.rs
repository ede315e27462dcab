//! Names of pods, noted in case the store has to be rebuilt while they live: the kernel remembers only the container of
//! an attachment (in the alias of its veth). Only lists and reservations use the notes, so a note is not synced, and
//! the loss of one does no harm.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
};

use naru_core::ids::{AttachmentId, PodName, host_ifname};
use serde::{Deserialize, Serialize};

use crate::paths::Paths;

/// A note; files have the name of the veth.
#[derive(Serialize, Deserialize)]
struct Note {
    attachment: String,
    namespace: String,
    name: String,
    uid: String,
}

/// The notes of a node: `<state>/pods/<veth>`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PodNotes {
    directory: PathBuf,
}

impl PodNotes {
    /// The notes of the node of `paths`.
    #[must_use]
    pub fn of(paths: &Paths) -> Self {
        Self { directory: paths.pod_notes() }
    }

    /// Notes the pod of an attachment.
    ///
    /// # Errors
    /// The file cannot be written; nothing else depends on it.
    pub fn write(&self, id: &AttachmentId, pod: &PodName) -> io::Result<()> {
        let PodName { namespace, name, uid } = pod.clone();
        let note = Note { attachment: id.to_string(), namespace, name, uid };
        let text = serde_json::to_vec(&note)?;
        let write = || {
            let mut options = fs::OpenOptions::new();
            let file = options.write(true).create(true).truncate(true).mode(0o600).open(self.file(id));
            file.and_then(|mut file| io::Write::write_all(&mut file, &text))
        };
        match write() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::DirBuilder::new().mode(0o700).create(&self.directory)?;
                write()
            }
            written => written,
        }
    }

    /// Forgets the pod of an attachment, if it was noted.
    pub fn forget(&self, id: &AttachmentId) {
        // A note that stays is removed by the first init of the next boot, and belongs to nobody until then.
        let _ = fs::remove_file(self.file(id));
    }

    /// The pod of an attachment; an empty name if it is not noted.
    pub(crate) fn read(&self, id: &AttachmentId) -> PodName {
        let note = fs::read(self.file(id)).ok().and_then(|text| serde_json::from_slice::<Note>(&text).ok());
        match note.filter(|note| note.attachment == id.to_string()) {
            Some(Note { namespace, name, uid, .. }) => PodName { namespace, name, uid },
            None => PodName::default(),
        }
    }

    /// Removes the notes of all veths but those that `lives` chooses by name.
    pub(crate) fn retain(&self, lives: impl Fn(&str) -> bool) {
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(|name| is_note(name) && !lives(name)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Removes all of them, and their directory unless somebody else put a file there.
    pub(crate) fn remove(&self) {
        self.retain(|_| false);
        let _ = fs::remove_dir(&self.directory);
    }

    fn file(&self, id: &AttachmentId) -> PathBuf {
        self.directory.join(host_ifname(id))
    }
}

/// Returns true if a file of that name is a note: the name of a host veth.
fn is_note(name: &str) -> bool {
    name.strip_prefix("naru").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(container: &str) -> AttachmentId {
        AttachmentId::new("naru", container, "eth0").unwrap()
    }

    fn pod(name: &str) -> PodName {
        PodName { namespace: "default".into(), name: name.into(), uid: "u-1".into() }
    }

    #[test]
    fn a_pod_is_found_by_its_attachment_until_it_is_forgotten() {
        let root = tempfile::tempdir().unwrap();
        let notes = PodNotes { directory: root.path().join("pods") };
        assert_eq!(notes.read(&id("a")), PodName::default());
        notes.write(&id("a"), &pod("web-0")).unwrap();
        notes.write(&id("b"), &pod("web-1")).unwrap();
        assert_eq!((notes.read(&id("a")), notes.read(&id("b"))), (pod("web-0"), pod("web-1")));
        notes.forget(&id("a"));
        notes.forget(&id("a"));
        assert_eq!((notes.read(&id("a")), notes.read(&id("b"))), (PodName::default(), pod("web-1")));
    }

    #[test]
    fn a_note_of_another_attachment_or_of_nobody_names_no_pod() {
        let root = tempfile::tempdir().unwrap();
        let notes = PodNotes { directory: root.path().to_owned() };
        notes.write(&id("a"), &pod("web-0")).unwrap();
        fs::rename(notes.file(&id("a")), notes.file(&id("b"))).unwrap();
        assert_eq!(notes.read(&id("b")), PodName::default());
        for text in ["", "{", "[]", "{\"attachment\":1}"] {
            fs::write(notes.file(&id("b")), text).unwrap();
            assert_eq!(notes.read(&id("b")), PodName::default(), "{text}");
        }
    }

    #[test]
    fn notes_of_pods_that_are_gone_go_and_files_of_others_stay() {
        let root = tempfile::tempdir().unwrap();
        let notes = PodNotes { directory: root.path().join("pods") };
        notes.write(&id("a"), &pod("web-0")).unwrap();
        notes.write(&id("b"), &pod("web-1")).unwrap();
        fs::write(root.path().join("pods/theirs"), "").unwrap();
        notes.retain(|name| name == host_ifname(&id("b")));
        assert_eq!((notes.read(&id("a")), notes.read(&id("b"))), (PodName::default(), pod("web-1")));
        notes.remove();
        assert_eq!(fs::read_dir(root.path().join("pods")).unwrap().count(), 1);
    }
}
