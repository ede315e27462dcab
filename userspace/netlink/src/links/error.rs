use crate::Errno;

/// The reasons for which a fact could not be read or a change not be made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LinkError {
    /// The kernel refused.
    #[error("{what}: {errno}")]
    Kernel {
        /// Object and action, as `veth naru3f2a: set mtu 1450`.
        what: String,
        /// The kernel's reason.
        errno: Errno,
    },
    /// The tunnel's UDP port belongs to another device or socket of this namespace.
    #[error("{device}: udp port {port} is taken by {}", holder.as_deref().unwrap_or("another tunnel device or socket"))]
    PortTaken {
        /// The overlay device that could not come up.
        device: String,
        /// The port.
        port: u16,
        /// The holder, if it is known.
        holder: Option<String>,
    },
    /// A link of that name is somebody else's.
    #[error("{device}: not ours: {reason}")]
    Foreign {
        /// The link's name.
        device: String,
        /// The evidence.
        reason: String,
    },
    /// The kernel's answer cannot be read by this version.
    #[error("{what}: unexpected answer: {detail}")]
    Answer {
        /// Object and action.
        what: String,
        /// The fault.
        detail: String,
    },
}

impl LinkError {
    /// A refusal by number.
    #[must_use]
    pub fn kernel(what: impl Into<String>, errno: i32) -> Self {
        Self::Kernel { what: what.into(), errno: Errno(errno) }
    }

    /// The error of an answer that is shorter than it says.
    #[must_use]
    pub fn cut(what: &str) -> Self {
        Self::Answer { what: what.to_owned(), detail: "it ends too early".to_owned() }
    }

    /// The kernel's error number, where it was the kernel that refused.
    #[must_use]
    pub const fn errno(&self) -> Option<i32> {
        match self {
            Self::Kernel { errno, .. } => Some(errno.0),
            Self::PortTaken { .. } => Some(libc::EADDRINUSE),
            Self::Foreign { .. } | Self::Answer { .. } => None,
        }
    }

    /// Returns true if the object was not there.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        matches!(self.errno(), Some(libc::ENODEV | libc::ENOENT | libc::ESRCH | libc::EADDRNOTAVAIL))
    }

    /// Returns true if an object of that name was there already.
    #[must_use]
    pub const fn is_present(&self) -> bool {
        matches!(self.errno(), Some(libc::EEXIST))
    }
}
