use std::{io, path::PathBuf};

use naru_netlink::nft::NftError;

use super::JournalError;

/// Why a fact of the machine could not be read or a change not be made.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A file could not be read, written or renamed.
    #[error("{}: {action}: {}", path.display(), lower(source))]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What was tried, as `write 1`.
        action: String,
        /// What the system said.
        source: io::Error,
    },
    /// The path names no network namespace.
    #[error("{}: no network namespace: {reason}", path.display())]
    NotANetns {
        /// The path.
        path: PathBuf,
        /// What it is instead.
        reason: String,
    },
    /// A system call failed.
    #[error("{what}: {}", lower(source))]
    System {
        /// Object and action.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A tool failed.
    #[error("{tool}: {reason}")]
    Tool {
        /// The command as called.
        tool: String,
        /// What it wrote to its error output, or why it could not be run.
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
        /// What the journal said.
        source: JournalError,
    },
    /// The journal holds a key this version cannot undo.
    #[error("{key}: nothing of this version can undo that")]
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

    /// Object and action without the reason.
    pub(crate) fn subject(&self) -> String {
        match self {
            Self::File { path, action, .. } => format!("{}: {action}", path.display()),
            Self::System { what, .. } => what.clone(),
            other => other.to_string(),
        }
    }

    /// A failed system call.
    pub(super) fn system(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::System { what: what.into(), source: source.into() }
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

/// An error as the house prints it.
fn lower(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => crate::errno::Errno(number).to_string(),
        None => error.to_string(),
    }
}
