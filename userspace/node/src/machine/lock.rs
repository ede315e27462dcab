use std::{
    fs::File,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use naru_store::lock_file::{self, Hold};
use serde::Serialize;

use super::{MachineError, versions};
use crate::{host, paths::Paths};

/// Holds the node's init lock until it is dropped; waits for its present holder. Nobody gets it on a machine that a
/// newer naru has taken over, also if that happened during the wait.
pub(crate) fn lock(paths: &Paths) -> Result<File, MachineError> {
    let file = take(paths.init_lock())?;
    versions::refuse_newer(paths)?;
    Ok(file)
}

/// Holds the lock file until it is dropped.
///
/// # Errors
/// [`MachineError::Busy`] if another process keeps it; the file cannot be made.
pub(crate) fn take(path: PathBuf) -> Result<File, MachineError> {
    let file = lock_file::open(&path).map_err(MachineError::file(&path, "open"))?;
    match lock_file::take(&file, Hold::Alone, lock_file::LIMIT) {
        Ok(true) => Ok(file),
        Ok(false) => Err(MachineError::Busy { path }),
        Err(error) => Err(MachineError::file(path, "lock")(error)),
    }
}

/// Writes `value` and the version of its keys atomically; `false` when the file was already so.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<bool, MachineError> {
    let content = serde_json::to_vec_pretty(&Versioned { format: versions::FORMAT, value });
    let mut content = content.map_err(|source| MachineError::Content { path: path.to_owned(), source })?;
    content.push(b'\n');
    lock_file::make_way(path).map_err(MachineError::file(path, "take out of the way"))?;
    Ok(host::install_file(path, &content, 0o644)?)
}

/// Removes a file; one that is gone is passed over.
pub(crate) fn remove(path: &Path) -> Result<(), MachineError> {
    lock_file::make_way(path).map_err(MachineError::file(path, "take out of the way"))?;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(MachineError::file(path, "remove")(error)),
        _ => Ok(()),
    }
}

/// A value as its file has it.
#[derive(Serialize)]
struct Versioned<'a, T> {
    format: u32,
    #[serde(flatten)]
    value: &'a T,
}
