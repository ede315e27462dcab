//! Network namespaces: opening, comparing, entering.

use std::{
    fmt, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    thread,
};

use rustix::{
    fs::{Mode, OFlags, fstat, fstatfs, open},
    net::{AddressFamily, SocketFlags, SocketType, socket_with},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::Errno;

/// The reasons for which a namespace cannot be opened, identified or entered.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// The file could not be opened or looked at.
    #[error("{}: {action}: {}", path.display(), Errno::of(source))]
    File {
        /// The path.
        path: PathBuf,
        /// The action that was tried.
        action: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The path names no network namespace.
    #[error("{}: no network namespace: {reason}", path.display())]
    NotANetns {
        /// The path.
        path: PathBuf,
        /// A description of what is there instead.
        reason: String,
    },
    /// A system call failed.
    #[error("{what}: {}", Errno::of(source))]
    System {
        /// Object and action.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

impl NetnsError {
    /// The system's error number, where a system call failed.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::File { source, .. } | Self::System { source, .. } => source.raw_os_error(),
            Self::NotANetns { .. } => None,
        }
    }

    /// Object and action without the reason.
    pub(crate) fn subject(&self) -> String {
        match self {
            Self::File { path, action, .. } => format!("{}: {action}", path.display()),
            Self::System { what, .. } => (*what).to_owned(),
            other @ Self::NotANetns { .. } => other.to_string(),
        }
    }

    fn file(path: &Path, action: &'static str, source: impl Into<io::Error>) -> Self {
        Self::File { path: path.to_owned(), action, source: source.into() }
    }

    fn system(what: &'static str, source: impl Into<io::Error>) -> Self {
        Self::System { what, source: source.into() }
    }
}

/// `NSFS_MAGIC`: the file system of namespace files.
const NSFS: i64 = 0x6e73_6673;

/// The identity of a network namespace, which differs even from a later one with the same inode.
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
/// [`NetnsError::File`] when it cannot be opened (absent: not found), [`NetnsError::NotANetns`] when it is something
/// else.
pub fn open_netns(path: &Path) -> Result<OwnedFd, NetnsError> {
    let not_one =
        |reason: &str| NetnsError::NotANetns { path: PathBuf::from(path), reason: reason.to_owned() };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fd = open(path, flags, Mode::empty()).map_err(|errno| NetnsError::file(path, "open", errno))?;
    let system = fstatfs(&fd).map_err(|errno| NetnsError::file(path, "look at", errno))?;
    #[allow(clippy::unnecessary_cast, reason = "the field's type differs between architectures")]
    if system.f_type as i64 != NSFS {
        return Err(not_one("not a namespace file; the namespace's mount may be gone"));
    }
    match namespace_kind(fd.as_fd()) {
        Some(kind) if kind != libc::CLONE_NEWNET => Err(not_one("a namespace of another kind")),
        _ => Ok(fd),
    }
}

/// The calling thread's network namespace.
///
/// # Errors
/// procfs is not there.
pub fn current_netns() -> Result<OwnedFd, NetnsError> {
    open_netns(Path::new("/proc/thread-self/ns/net"))
}

/// Returns true if the namespace is the calling thread's own.
///
/// # Errors
/// procfs is not there.
pub fn is_own_netns(netns: BorrowedFd<'_>) -> Result<bool, NetnsError> {
    let look = |fd: BorrowedFd<'_>| {
        let stat = fstat(fd).map_err(|errno| NetnsError::system("network namespace: look at", errno))?;
        Ok::<_, NetnsError>((stat.st_dev, stat.st_ino))
    };
    // Both files are open, so neither number can be reused meanwhile.
    let own = current_netns()?;
    Ok(look(netns)? == look(own.as_fd())?)
}

/// The identity of the namespace.
///
/// # Errors
/// It cannot be entered.
pub fn netns_identity(netns: BorrowedFd<'_>) -> Result<NetnsIdentity, NetnsError> {
    let inode = fstat(netns).map_err(|errno| NetnsError::system("network namespace: look at", errno))?.st_ino;
    Ok(NetnsIdentity { cookie: cookie_of(netns)?, inode })
}

/// The identity of the calling thread's namespace.
///
/// # Errors
/// Neither the kernel's cookie nor procfs is there.
pub fn own_identity() -> Result<NetnsIdentity, NetnsError> {
    match own_cookie() {
        // Nobody asks for the other one then.
        Some(cookie) => Ok(NetnsIdentity { cookie: Some(cookie), inode: 0 }),
        None => netns_identity(current_netns()?.as_fd()),
    }
}

/// Runs `work` on a thread of its own inside the namespace and waits for it. Sockets opened there stay there.
///
/// # Errors
/// The thread cannot be made or may not enter the namespace; `work` was not run then.
///
/// # Panics
/// Resumes a panic of `work`.
pub fn in_netns<T: Send>(netns: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
    let run = move || {
        enter(netns)?;
        Ok(work())
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("naru-netns".to_owned()).spawn_scoped(scope, run);
        let thread = thread.map_err(|error| NetnsError::system("network namespace: thread", error))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Returns the namespace's cookie if the kernel has cookies. The calling thread goes in and comes back: another thread,
/// as [`in_netns`] uses, costs more than the rest of the look-up.
fn cookie_of(netns: BorrowedFd<'_>) -> Result<Option<u64>, NetnsError> {
    let own = current_netns()?;
    enter(netns)?;
    let cookie = own_cookie();
    if let Err(error) = enter(own.as_fd()) {
        // If it could not go back, everything that this process does next would change a pod instead of the node.
        eprintln!("{error}: cannot return to the namespace this process came from");
        std::process::abort();
    }
    Ok(cookie)
}

/// Moves the calling thread.
fn enter(netns: BorrowedFd<'_>) -> Result<(), NetnsError> {
    move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))
        .map_err(|errno| NetnsError::system("network namespace: enter", errno))
}

/// The cookie of the calling thread's namespace, where the kernel has them.
fn own_cookie() -> Option<u64> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None).ok()?;
    let mut cookie = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: both pointers are valid for the call, and the length says how much may be written.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    (result == 0).then_some(cookie)
}

/// The `CLONE_NEW*` flag of the namespace (`NS_GET_NSTYPE`, Linux 4.11).
fn namespace_kind(namespace: BorrowedFd<'_>) -> Option<libc::c_int> {
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
    // SAFETY: this request takes no argument and returns the kind or -1.
    let kind = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_NSTYPE) };
    (kind >= 0).then_some(kind)
}
