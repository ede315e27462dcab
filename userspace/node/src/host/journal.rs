use std::collections::BTreeMap;

use naru_store::NodeStore;

use super::{HostError, bpffs, forward, sysctl};

/// What a journal said when it could not keep an entry.
pub type JournalError = Box<dyn std::error::Error + Send + Sync>;

/// The record of what was before naru, for `naru uninstall`; survives reboots.
pub trait Journal {
    /// Keeps `former` as the value of `key` before naru. The first value kept stays: a later call for the same key
    /// changes nothing. Called before the change is made.
    ///
    /// # Errors
    /// The entry could not be made durable.
    fn remember(&mut self, key: &str, former: &str) -> Result<(), JournalError>;
}

impl Journal for BTreeMap<String, String> {
    fn remember(&mut self, key: &str, former: &str) -> Result<(), JournalError> {
        self.entry(key.to_owned()).or_insert_with(|| former.to_owned());
        Ok(())
    }
}

impl Journal for NodeStore {
    fn remember(&mut self, key: &str, former: &str) -> Result<(), JournalError> {
        self.journal_once(key, former)?;
        Ok(())
    }
}

/// [`Journal::remember`] with the key in the error.
pub(super) fn remember(journal: &mut dyn Journal, key: &str, former: &str) -> Result<(), HostError> {
    journal.remember(key, former).map_err(|source| HostError::Journal { key: key.to_owned(), source })
}

/// Makes the entry's subject be as it was: the exact inverse of the change that remembered it. Repeating it, or undoing
/// what is gone (a device's sysctl), changes nothing.
///
/// # Errors
/// The key is not one of ours, or the change is refused.
pub fn undo(key: &str, former: &str) -> Result<(), HostError> {
    match key.split_once(' ') {
        Some((sysctl::KEY, name)) => sysctl::restore(name, former),
        Some((sysctl::FORWARDING, root)) => sysctl::restore_forwarding(root, former),
        Some((forward::KEY, chain)) => forward::close(chain),
        Some((bpffs::KEY, directory)) => bpffs::unmount_bpffs(directory.as_ref()).map(drop),
        _ => Err(HostError::UnknownKey { key: key.to_owned() }),
    }
}
