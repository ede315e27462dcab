//! The lock between processes that work on attachments and those that remove the node, its maps or its store: no ADD
//! succeeds that an uninstall, an upgrade or a new store undoes at the same moment.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::PathBuf,
};

use naru_store::lock_file::{self, Hold};

use super::MachineError;
use crate::paths::Paths;

/// The right to work on attachments, held until it is dropped: maps and store that are opened after it was taken stay.
#[derive(Debug)]
pub struct Presence {
    _file: File,
}

impl Presence {
    /// Takes the right, which others may hold too; waits for a process that changes maps or stores.
    ///
    /// # Errors
    /// [`MachineError::NotReady`] where there is no node, or it went while this waited; [`MachineError::Busy`].
    pub fn take(paths: &Paths) -> Result<Self, MachineError> {
        let path = paths.pods_lock();
        // Only init makes the file: without a node nothing is left behind.
        let file =
            OpenOptions::new().read(true).write(true).open(&path).map_err(|error| match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
                    MachineError::NotReady
                }
                _ => MachineError::file(&path, "open")(error),
            })?;
        let file = hold(path, file, Hold::Shared)?;
        match is_there(paths, &file) && paths.node_facts().exists() {
            true => Ok(Self { _file: file }),
            false => Err(MachineError::NotReady),
        }
    }
}

/// Waits for everybody who works on attachments, and keeps others away until it is dropped. The caller holds the init
/// lock.
pub(crate) fn alone(paths: &Paths) -> Result<File, MachineError> {
    hold(paths.pods_lock(), make(paths)?, Hold::Alone)
}

/// Makes the lock, if it is not there.
pub(crate) fn make(paths: &Paths) -> Result<File, MachineError> {
    let path = paths.pods_lock();
    lock_file::open(&path).map_err(MachineError::file(path, "open"))
}

fn hold(path: PathBuf, file: File, kind: Hold) -> Result<File, MachineError> {
    match lock_file::take(&file, kind, lock_file::LIMIT) {
        Ok(true) => Ok(file),
        Ok(false) => Err(MachineError::Busy { path }),
        Err(error) => Err(MachineError::file(path, "lock")(error)),
    }
}

/// Returns true if the file is the one that others lock: an uninstall removes it.
fn is_there(paths: &Paths, file: &File) -> bool {
    let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
    let held = file.metadata().ok().map(identity);
    held.is_some() && held == std::fs::metadata(paths.pods_lock()).ok().map(identity)
}
