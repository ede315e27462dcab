use std::path::Path;

use super::HostError;

/// Puts `content` at `path` with `mode` so that every reader sees the old file or the whole new one, also after a power cut:
/// a temporary file of its own name beside it, fsync, rename, fsync of the directory. Makes missing directories.
/// Replaces a binary that is running. `false` when the file was already so.
///
/// # Errors
/// One of the steps fails; the old file is untouched and the temporary one removed.
pub fn install_file(path: &Path, content: &[u8], mode: u32) -> Result<bool, HostError> {
    let _ = (path, content, mode);
    todo!()
}

/// Removes the file; `false` when it was gone already.
///
/// # Errors
/// The system refuses for another reason.
pub fn remove_file(path: &Path) -> Result<bool, HostError> {
    let _ = path;
    todo!()
}
