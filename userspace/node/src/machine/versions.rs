//! Versions of everything that outlives a process: pins, stores and files. They are read before anything else, because
//! the state of a newer naru must not be changed, and its meaning is unknown here.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use naru_abi::ABI_VERSION;
use naru_bpf::Pins;
use naru_store::{NodeStore, StateStore, StoreError};
use serde::Deserialize;

use super::MachineError;
use crate::{host, paths::Paths};

/// Version of the keys of `node.json` and `init.json`, written into both; a file without one is of version 1.
pub(crate) const FORMAT: u32 = 1;

/// The part that every version of naru's files has.
#[derive(Deserialize)]
struct Stamp {
    #[serde(default)]
    format: u32,
    #[serde(default)]
    abi: u32,
    #[serde(default)]
    boot_id: Option<String>,
}

/// Refuses a machine on which a newer naru left something. Reads only.
///
/// # Errors
/// [`MachineError::Newer`] or a store's, with both versions named; the system's where it cannot be told.
pub fn refuse_newer(paths: &Paths) -> Result<(), MachineError> {
    refuse_newer_pins(paths)?;
    for path in [paths.node_facts(), paths.settings()] {
        match std::fs::read(&path) {
            Ok(content) => check(&path, &content)?,
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory
                ) => {}
            Err(error) => return Err(MachineError::file(path, "read")(error)),
        }
    }
    for schema in
        [NodeStore::check_schema(&paths.node_store()), StateStore::check_schema(&paths.lease_store())]
    {
        // Other faults of a store are reported when it is opened.
        if let Err(newer @ StoreError::Newer { .. }) = schema {
            return Err(newer.into());
        }
    }
    Ok(())
}

/// Returns true if an older naru's node is to be migrated.
pub(crate) fn is_older(paths: &Paths) -> Result<bool, MachineError> {
    let versions = Pins::versions(&paths.bpf).map_err(MachineError::file(&paths.bpf, "list"))?;
    let is_older = |opened: Result<(), StoreError>| matches!(opened, Err(StoreError::Older { .. }));
    Ok(versions.iter().any(|version| *version < ABI_VERSION)
        || is_older(NodeStore::check_schema(&paths.node_store()))
        || is_older(StateStore::check_schema(&paths.lease_store())))
}

/// Makes the part of the checks of [`refuse_newer`] for which every ADD has time: lists a directory and reads two
/// headers. `node.json` is checked by its readers.
pub(super) fn check_header(paths: &Paths) -> Result<(), MachineError> {
    refuse_newer_pins(paths)?;
    StateStore::check_header(&paths.lease_store())?;
    Ok(NodeStore::check_header(&paths.node_store())?)
}

fn refuse_newer_pins(paths: &Paths) -> Result<(), MachineError> {
    let versions = Pins::versions(&paths.bpf).map_err(MachineError::file(&paths.bpf, "list"))?;
    match versions.last() {
        Some(newest) if *newest > ABI_VERSION => {
            Err(newer(paths.pins_of(*newest).root().to_owned(), "ABI", *newest, ABI_VERSION))
        }
        _ => Ok(()),
    }
}

/// Refuses the content of one of our files that a newer naru wrote. A file without a version is left to its reader, and
/// `node.json` is void in another boot, like everything that it describes.
pub(super) fn check(path: &Path, content: &[u8]) -> Result<(), MachineError> {
    let Ok(Stamp { format, abi, boot_id }) = serde_json::from_slice(content) else { return Ok(()) };
    if boot_id.is_some_and(|boot_id| host::boot_id().is_ok_and(|now| now != boot_id)) {
        return Ok(());
    }
    let path = path.to_owned();
    match (format > FORMAT, abi > ABI_VERSION) {
        (true, _) => Err(newer(path, "format", format, FORMAT)),
        (_, true) => Err(newer(path, "ABI", abi, ABI_VERSION)),
        _ => Ok(()),
    }
}

fn newer(path: PathBuf, what: &'static str, found: u32, known: u32) -> MachineError {
    MachineError::Newer { path, what, found, known }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl Fn(&Paths)) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::under(directory.path());
        for made in [&paths.run, &paths.state, &paths.bpf] {
            std::fs::create_dir_all(made).unwrap();
        }
        change(&paths);
        refuse_newer(&paths).err().map(|error| error.to_string())
    }

    fn write(path: &Path, content: &str) {
        std::fs::write(path, content).unwrap();
    }

    #[test]
    fn nothing_and_our_own_are_no_reason_to_refuse() {
        assert_eq!(refusal(|_| {}), None);
        let own = |paths: &Paths| {
            std::fs::create_dir_all(paths.pins().programs()).unwrap();
            write(&paths.node_facts(), &format!(r#"{{"abi": {ABI_VERSION}}}"#));
            write(&paths.settings(), r#"{"format": 1}"#);
            drop(NodeStore::open(&paths.node_store()).unwrap());
        };
        assert_eq!(refusal(own), None);
    }

    #[test]
    fn newer_files_and_pins_are_refused_with_both_versions() {
        let next = ABI_VERSION + 1;
        let told =
            refusal(|paths| std::fs::create_dir_all(paths.pins_of(next).map("PODS")).unwrap()).unwrap();
        assert!(
            told.contains(&format!("ABI {next}")) && told.contains(&format!("knows {ABI_VERSION}")),
            "{told}"
        );
        let told = refusal(|paths| write(&paths.node_facts(), &format!(r#"{{"abi": {next}}}"#))).unwrap();
        assert!(told.contains("node.json") && told.contains(&format!("ABI {next}")), "{told}");
        let told = refusal(|paths| write(&paths.settings(), r#"{"format": 2, "node": []}"#)).unwrap();
        assert!(
            told.contains("init.json") && told.contains("format 2") && told.contains("knows 1"),
            "{told}"
        );
    }

    #[test]
    fn what_only_looks_like_ours_and_what_is_void_or_broken_is_passed_over() {
        let next = ABI_VERSION + 1;
        for name in [format!("abi{next}x"), format!("abi0{next}"), "abi".to_owned(), format!("other{next}")] {
            assert_eq!(
                refusal(|paths| std::fs::create_dir_all(paths.bpf.join(&name).join("PODS")).unwrap()),
                None
            );
        }
        let unmarked = |paths: &Paths| std::fs::create_dir_all(paths.pins_of(next).map("theirs")).unwrap();
        assert_eq!(refusal(unmarked), None, "somebody else's directory of that name");
        let void = format!(r#"{{"abi": {next}, "boot_id": "another"}}"#);
        assert_eq!(refusal(|paths| write(&paths.node_facts(), &void)), None);
        assert_eq!(refusal(|paths| write(&paths.node_facts(), "{")), None);
    }
}
