use std::{
    fmt,
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
};

use super::HostError;

/// What tells a network namespace from every other, also from a later one with the same inode.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct NetnsIdentity {
    /// The kernel's cookie (`SO_NETNS_COOKIE`, Linux 5.14), never used twice in a boot.
    pub cookie: Option<u64>,
    /// Inode number on nsfs; used again at once when the namespace is gone.
    pub inode: u64,
}

impl fmt::Display for NetnsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cookie {
            Some(cookie) => write!(f, "cookie:{cookie}"),
            None => write!(f, "inode:{}", self.inode),
        }
    }
}

/// Opens the network namespace at `path` and proves that it is one.
///
/// # Errors
/// [`HostError::File`] when it cannot be opened (absent: not found), [`HostError::NotANetns`] when it is something else.
pub fn open_netns(path: &Path) -> Result<OwnedFd, HostError> {
    let _ = path;
    todo!()
}

/// The calling thread's network namespace.
///
/// # Errors
/// procfs is not there.
pub fn current_netns() -> Result<OwnedFd, HostError> {
    open_netns(Path::new("/proc/thread-self/ns/net"))
}

/// The identity of the namespace.
///
/// # Errors
/// It cannot be entered.
pub fn netns_identity(netns: BorrowedFd<'_>) -> Result<NetnsIdentity, HostError> {
    let _ = netns;
    todo!()
}

/// Runs `work` on a thread of its own inside the namespace and waits for it. Sockets opened there stay there.
///
/// # Errors
/// The thread cannot be made or may not enter the namespace; `work` was not run then.
///
/// # Panics
/// Resumes a panic of `work`.
pub fn in_netns<T: Send>(netns: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> Result<T, HostError> {
    let _ = (netns, work);
    todo!()
}
