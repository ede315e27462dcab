use std::path::PathBuf;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is not there: the node was not initialised since it was started.
    #[error("store {0}: not there")]
    Missing(PathBuf),
    /// The file was written under another boot of the machine: what it says is void.
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
    /// The file is damaged.
    #[error("store {path}: damaged: {detail}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What the library says.
        detail: String,
    },
    /// The file or its file system is read-only.
    #[error("store {0}: read-only")]
    ReadOnly(PathBuf),
    /// The file system is full.
    #[error("store {0}: no space left")]
    Full(PathBuf),
    /// The file would lie on a network file system, whose locks cannot be relied on.
    #[error("store {path}: on {kind}, a network file system")]
    NetworkFilesystem {
        /// The file.
        path: PathBuf,
        /// The file system's name.
        kind: &'static str,
    },
    /// Other processes held the store for too long.
    #[error("store {0}: busy")]
    Busy(PathBuf),
    /// The operating system refused something.
    #[error("store {path}: {verb}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        verb: &'static str,
        /// The refusal.
        source: std::io::Error,
    },
    /// The library refused something else.
    #[error("store {path}: {source}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// The refusal.
        source: rusqlite::Error,
    },
}
