//! The host's file tree, for a process in a container that has it as a directory.

use std::{
    fs::File,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use anyhow::Context;

/// A directory of the container that stays accessible after the root directory has changed.
pub struct Kept {
    directory: OwnedFd,
}

impl Kept {
    /// Opens `directory`.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(directory: &Path) -> anyhow::Result<Self> {
        let opened = File::open(directory).with_context(|| directory.display().to_string())?;
        Ok(Self { directory: opened.into() })
    }

    /// Returns its path, which is valid as long as `self` lives. Files are looked up each time, as the kubelet replaces
    /// them.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.directory.as_raw_fd()).into()
    }
}

/// Makes `root` the process's root directory. From then on every path is the host's, so that paths that are written
/// down (in the undo journal, in the plugin's configuration) are right for programs of the host.
///
/// # Errors
/// `root` is not there, or the process lacks `CAP_SYS_CHROOT`.
pub fn enter(root: &Path) -> anyhow::Result<()> {
    rustix::process::chroot(root)
        .and_then(|()| rustix::process::chdir("/"))
        .with_context(|| format!("{}: enter the host's root directory", root.display()))
}
