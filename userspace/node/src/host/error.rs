use std::{io, path::PathBuf};

use naru_netlink::{Errno, nft::NftError};

use super::JournalError;

/// The reasons for which a fact of the machine could not be read, or a change not be made.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A file could not be read, written or renamed.
    #[error("{}: {action}: {}", path.display(), Errno::of(source))]
    File {
        /// The file or directory.
        path: PathBuf,
        /// The action that was tried, such as `write 1`.
        action: String,
        /// The system's error.
        source: io::Error,
    },
    /// There is no bpffs for maps and programs, and this process may not make one.
    #[error(
        "{}: no bpffs is there, and this process may not mount one: run mount -t bpf bpf {} on the host, and let its \
         boot do so",
        directory.display(),
        place.display()
    )]
    NoBpffs {
        /// The directory that should be on one.
        directory: PathBuf,
        /// The place to mount it.
        place: PathBuf,
    },
    /// A system call failed.
    #[error("{what}: {}", Errno::of(source))]
    System {
        /// Object and action.
        what: String,
        /// The system's error.
        source: io::Error,
    },
    /// A tool failed.
    #[error("{tool}: {reason}")]
    Tool {
        /// The command as called.
        tool: String,
        /// The tool's standard error, or the reason for which it could not be run.
        reason: String,
    },
    /// A tool that is needed is not installed.
    #[error("{tool}: not found in PATH or the system's directories; is it installed?")]
    ToolMissing {
        /// The tool.
        tool: String,
    },
    /// The former value could not be remembered, so nothing was changed.
    #[error("{key}: remember the former value: {source}")]
    Journal {
        /// The key in the journal.
        key: String,
        /// The journal's error.
        source: JournalError,
    },
    /// The journal holds a key this version cannot undo.
    #[error("{key}: this version does not know how to undo that")]
    UnknownKey {
        /// The key in the journal.
        key: String,
    },
}

impl HostError {
    /// The system's error number, where a system call failed.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::File { source, .. } | Self::System { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    /// A failed access to a file.
    pub(super) fn file(
        path: impl Into<PathBuf>,
        action: impl Into<String>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::File { path: path.into(), action: action.into(), source: source.into() }
    }
}

impl From<NftError> for HostError {
    fn from(NftError { what, source }: NftError) -> Self {
        Self::System { what, source }
    }
}
