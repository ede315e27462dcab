use std::path::PathBuf;

/// Why this machine could not be made a node.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// Neither a cluster nor a subnet is known.
    #[error(
        "this node is not initialised: no cluster file was accepted yet and the configuration names no subnet"
    )]
    NotConfigured,
    /// A file of ours could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl InitError {
    /// Whether trying again later may help without a change of configuration (CNI error 11).
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NotConfigured => true,
            Self::File { .. } => true,
        }
    }
}
