//! The host's file tree, for a process in a container that has it as a directory.

use std::path::Path;

use anyhow::Context;

/// Makes `root` the process's root directory. From then on every path is what the host calls it, so that what is
/// written down (the undo journal, the configuration of the plugin) is right for programs of the host.
///
/// # Errors
/// `root` is not there, or the process lacks `CAP_SYS_CHROOT`.
pub fn enter(root: &Path) -> anyhow::Result<()> {
    rustix::process::chroot(root)
        .and_then(|()| rustix::process::chdir("/"))
        .with_context(|| format!("{}: enter the host's root directory", root.display()))
}
