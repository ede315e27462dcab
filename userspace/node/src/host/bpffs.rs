use std::path::Path;

use super::{HostError, Journal};

/// First word of a mount's key in the journal.
pub(super) const KEY: &str = "bpffs";

/// Whether the directory lies on a bpffs; `false` when it is not there.
///
/// # Errors
/// It cannot be looked at.
pub fn is_bpffs(directory: &Path) -> Result<bool, HostError> {
    let _ = directory;
    todo!()
}

/// Makes the directory and mounts a bpffs on it unless it is on one already; `true` when it was mounted.
///
/// # Errors
/// The directory cannot be made, remembered or mounted.
pub fn ensure_bpffs(directory: &Path, journal: &mut dyn Journal) -> Result<bool, HostError> {
    let _ = (directory, journal);
    todo!()
}

/// Unmounts the bpffs whose root the directory is; `false` when there is none.
///
/// # Errors
/// The kernel refuses.
pub fn unmount_bpffs(directory: &Path) -> Result<bool, HostError> {
    let _ = directory;
    todo!()
}
