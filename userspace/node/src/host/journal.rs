use std::collections::BTreeMap;

use naru_store::NodeStore;

use super::HostError;

/// The error of a journal that could not keep an entry.
pub type JournalError = Box<dyn std::error::Error + Send + Sync>;

/// The record of the host's state before naru, for `naru uninstall`; it survives reboots.
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
