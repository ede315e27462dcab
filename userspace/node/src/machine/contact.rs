use std::{
    fs,
    io::ErrorKind,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::{MachineError, remove, write_json};
use crate::paths::Paths;

/// The last time that the agent heard of the cluster, on a node whose administrator limits the time without. A block
/// is the node's own for ever otherwise, and then there is no such file.
///
/// The time is the wall clock's, which goes on over a reboot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LastContact {
    /// Seconds since 1970.
    pub heard: u64,
    /// Seconds for which addresses are given out after that.
    pub limit: u64,
}

impl LastContact {
    /// The contact as it was written last; `None` where there is no limit.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn load(paths: &Paths) -> Result<Option<Self>, MachineError> {
        let path = paths.contact();
        match fs::read(&path) {
            Ok(content) => serde_json::from_slice(&content)
                .map(Some)
                .map_err(|source| MachineError::Content { path, source }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(MachineError::file(path, "read")(error)),
        }
    }

    /// Writes `contact`, or takes the file away where there is no limit any more.
    ///
    /// # Errors
    /// The file cannot be changed.
    pub fn save(paths: &Paths, contact: Option<Self>) -> Result<(), MachineError> {
        match contact {
            Some(contact) => write_json(&paths.contact(), &contact).map(drop),
            None => remove(&paths.contact()),
        }
    }

    /// The time without contact, if that is longer than the limit. A clock that was set back makes it none.
    #[must_use]
    pub fn overdue(&self, now: SystemTime) -> Option<Duration> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let without = now.saturating_sub(Duration::from_secs(self.heard));
        (without.as_secs() > self.limit).then(|| Duration::from_secs(without.as_secs()))
    }

    /// Refuses a node that has not heard of its cluster for too long.
    ///
    /// # Errors
    /// [`MachineError::OutOfContact`].
    pub(crate) fn refuse_overdue(paths: &Paths, node: &str) -> Result<(), MachineError> {
        let Some(contact) = Self::load(paths)? else { return Ok(()) };
        match contact.overdue(SystemTime::now()) {
            Some(without) => Err(MachineError::OutOfContact {
                node: node.to_owned(),
                without: without.as_secs(),
                limit: contact.limit,
            }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contact_is_overdue_only_after_its_limit_and_never_by_a_clock_that_was_set_back() {
        let contact = LastContact { heard: 1000, limit: 60 };
        let after = |seconds: u64| contact.overdue(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!((after(1000), after(1060), after(10)), (None, None, None));
        assert_eq!(after(1061), Some(Duration::from_secs(61)));
        assert_eq!(LastContact { limit: u64::MAX, ..contact }.overdue(SystemTime::now()), None);
    }

    #[test]
    fn a_limit_that_is_taken_away_leaves_no_file_and_a_damaged_one_is_no_permission() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::under(root.path());
        fs::create_dir_all(&paths.state).unwrap();
        assert_eq!(LastContact::load(&paths).unwrap(), None);
        let contact = LastContact { heard: 1, limit: 2 };
        LastContact::save(&paths, Some(contact)).unwrap();
        assert_eq!(LastContact::load(&paths).unwrap(), Some(contact));
        let refused = LastContact::refuse_overdue(&paths, "node1").unwrap_err();
        assert!(refused.is_retryable() && refused.to_string().contains("node1"), "{refused}");
        fs::write(paths.contact(), "{").unwrap();
        assert!(LastContact::refuse_overdue(&paths, "node1").is_err());
        LastContact::save(&paths, None).unwrap();
        assert!(!paths.contact().exists());
        LastContact::refuse_overdue(&paths, "node1").unwrap();
    }
}
