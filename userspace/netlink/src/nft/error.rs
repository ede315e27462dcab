use std::io;

use rustix::io::Errno;

/// A request to nf_tables that failed.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct NftError {
    /// The object and what was tried, with the kernel's own words where it gave some.
    pub what: String,
    /// The system's answer.
    pub source: io::Error,
}

impl NftError {
    /// An error with this number.
    pub(super) fn new(what: impl Into<String>, errno: Errno) -> Self {
        Self { what: what.into(), source: errno.into() }
    }

    /// The error of an answer that differs from the kernel's documentation.
    pub(super) fn unexpected(what: &str, detail: &str) -> Self {
        Self { what: format!("{what}: unexpected answer: {detail}"), source: Errno::PROTO.into() }
    }

    /// Returns true if the object does not exist, or the table that it would be in.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.is(Errno::NOENT)
    }

    /// Returns true if the rules changed after the generation that a transaction was made for.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.source.raw_os_error() == Some(libc::ERESTART)
    }

    /// Returns true if the rules changed while they were read.
    pub(super) fn is_torn(&self) -> bool {
        self.is(Errno::INTR)
    }

    pub(super) fn is(&self, errno: Errno) -> bool {
        self.source.raw_os_error() == Some(errno.raw_os_error())
    }
}
