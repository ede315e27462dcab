//! A copy of the undo journal, in the run directory: the changes that it names die with the kernel, as the copy does,
//! while the state directory alone may get lost.

use naru_store::NodeStore;
use serde::{Deserialize, Serialize};

use super::{MachineError, write_json};
use crate::paths::Paths;

/// The content of the copy.
#[derive(Default, Serialize, Deserialize)]
struct Copy {
    /// Keys and values of before, the oldest change first.
    entries: Vec<(String, String)>,
}

/// Writes the copy, if it differs.
pub(crate) fn keep(paths: &Paths, store: &NodeStore) -> Result<(), MachineError> {
    let mut entries = store.journal("")?;
    entries.reverse();
    write_json(&paths.undo_copy(), &Copy { entries }).map(drop)
}

/// Fills an empty journal from its copy. A copy that is missing or unreadable is ignored.
pub(crate) fn recall(paths: &Paths, store: &mut NodeStore) -> Result<(), MachineError> {
    if !store.journal("")?.is_empty() {
        return Ok(());
    }
    let content = std::fs::read(paths.undo_copy()).unwrap_or_default();
    let copy: Copy = serde_json::from_slice(&content).unwrap_or_default();
    for (key, before) in copy.entries {
        store.journal_once(&key, &before)?;
    }
    Ok(())
}
