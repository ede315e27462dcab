use std::{io, path::PathBuf};

/// The reasons for which a runtime's configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// A file is there and cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file is not TOML, or a value is of another type than its runtime takes.
    #[error("{path}: {reason}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The parser's words, with line and key.
        reason: String,
    },
    /// A directory that is not absolute.
    #[error("{path}: {key}: `{given}` is not an absolute path", path = path.display(), given = given.display())]
    Relative {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// Its value.
        given: PathBuf,
    },
}
