use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rusqlite::{Error, ErrorCode, ffi};

/// The reasons for which the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is not there: the node was not initialised since it was started.
    #[error("store {0}: not there")]
    Missing(PathBuf),
    /// The file was written under another boot of the machine; its contents are void.
    #[error("store {path}: written under boot {stored}")]
    OtherBoot {
        /// The file.
        path: PathBuf,
        /// The boot id in it.
        stored: String,
    },
    /// A newer naru wrote it.
    #[error("store {path}: schema {found} is newer than {known}, the newest this naru knows")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// An older naru wrote it, and nobody has migrated it yet.
    #[error("store {path}: schema {found} is older than {known}: naru init or the next pod migrates it")]
    Older {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The file is damaged.
    #[error("store {path}: damaged: {detail}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The library's message.
        detail: String,
    },
    /// The file or its file system is read-only.
    #[error("store {0}: read-only")]
    ReadOnly(PathBuf),
    /// The file system is full.
    #[error("store {0}: no space left")]
    Full(PathBuf),
    /// The file would lie on a file system whose locks and syncs cannot be relied on.
    #[error(
        "store {path}: on {kind}, a file system of a network or of a program: its locks cannot be relied on"
    )]
    NetworkFilesystem {
        /// The file.
        path: PathBuf,
        /// The file system's name.
        kind: String,
    },
    /// Other processes held the store for too long.
    #[error("store {0}: busy")]
    Busy(PathBuf),
    /// The operating system refused something.
    #[error("store {path}: {verb}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The action that was tried.
        verb: &'static str,
        /// The refusal.
        source: io::Error,
    },
    /// The library refused something else.
    #[error("store {path}: {source}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// The refusal.
        source: Error,
    },
}

impl StoreError {
    /// Returns true if the same call may succeed later without anybody changing the file's content: CNI code 11.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Busy(_) | Self::Full(_) | Self::ReadOnly(_) | Self::Newer { .. } | Self::Older { .. }
        )
    }

    /// Returns true if [`crate::StateStore::create`] mends it.
    #[must_use]
    pub const fn wants_creation(&self) -> bool {
        matches!(self, Self::Missing(_) | Self::OtherBoot { .. } | Self::Corrupt { .. } | Self::Older { .. })
    }

    pub(crate) fn io(path: &Path, verb: &'static str, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full(path),
            ErrorKind::ReadOnlyFilesystem => Self::ReadOnly(path),
            _ => Self::Io { path, verb, source },
        }
    }

    pub(crate) fn sqlite(path: &Path, source: Error) -> Self {
        let path = path.to_owned();
        let detail = source.to_string();
        match source.sqlite_error() {
            Some(code) if is_full(*code) => Self::Full(path),
            Some(code) if code.code == ErrorCode::CannotOpen => Self::unopened(path, source),
            _ => match source.sqlite_error_code() {
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy(path),
                Some(ErrorCode::ReadOnly) => Self::ReadOnly(path),
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt { path, detail },
                None if is_unreadable(&source) => Self::Corrupt { path, detail },
                _ => Self::Sqlite { path, source },
            },
        }
    }

    /// The library does not say why it could not open a file; the file system does.
    fn unopened(path: PathBuf, source: Error) -> Self {
        let facts = rustix::fs::statvfs(path.parent().unwrap_or(Path::new("/")));
        match facts {
            Ok(facts) if facts.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) => Self::ReadOnly(path),
            Ok(facts) if facts.f_bavail == 0 || (facts.f_files > 0 && facts.f_favail == 0) => {
                Self::Full(path)
            }
            _ => Self::Sqlite { path, source },
        }
    }
}

/// The log's index is a file of fixed size: if there is no room for it, the code is not that of a full disk.
fn is_full(error: ffi::Error) -> bool {
    error.code == ErrorCode::DiskFull || error.extended_code == ffi::SQLITE_IOERR_SHMSIZE
}

/// Returns true if a column or table is not what this schema says it is.
fn is_unreadable(error: &Error) -> bool {
    matches!(
        error,
        Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::QueryReturnedNoRows
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(extended: i32) -> StoreError {
        let source = Error::SqliteFailure(ffi::Error::new(extended), None);
        StoreError::sqlite(Path::new("/run/naru/state.db"), source)
    }

    #[test]
    fn refusals_of_the_library_become_errors_a_caller_can_act_on() {
        assert!(matches!(refusal(ffi::SQLITE_BUSY), StoreError::Busy(_)));
        assert!(matches!(refusal(ffi::SQLITE_READONLY), StoreError::ReadOnly(_)));
        assert!(matches!(refusal(ffi::SQLITE_FULL), StoreError::Full(_)));
        assert!(matches!(refusal(ffi::SQLITE_IOERR_SHMSIZE), StoreError::Full(_)));
        assert!(matches!(refusal(ffi::SQLITE_NOTADB), StoreError::Corrupt { .. }));
        assert!(matches!(refusal(ffi::SQLITE_CORRUPT), StoreError::Corrupt { .. }));
        assert!(matches!(refusal(ffi::SQLITE_CONSTRAINT), StoreError::Sqlite { .. }));
    }

    #[test]
    fn refusals_of_the_system_name_the_file_and_what_was_tried() {
        let refused =
            |code| StoreError::io(Path::new("/x/state.db"), "lock it", io::Error::from_raw_os_error(code));
        assert!(matches!(refused(libc::ENOSPC), StoreError::Full(_)));
        assert!(matches!(refused(libc::EROFS), StoreError::ReadOnly(_)));
        let text = refused(libc::EACCES).to_string();
        assert!(text.starts_with("store /x/state.db: lock it: "), "{text}");
    }

    #[test]
    fn a_caller_can_tell_what_passes_and_what_creation_mends() {
        assert!(refusal(ffi::SQLITE_BUSY).may_pass());
        assert!(!refusal(ffi::SQLITE_CORRUPT).may_pass());
        assert!(refusal(ffi::SQLITE_CORRUPT).wants_creation());
        assert!(StoreError::Missing(PathBuf::from("x")).wants_creation());
        assert!(!refusal(ffi::SQLITE_FULL).wants_creation());
    }
}
