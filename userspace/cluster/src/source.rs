use std::path::{Path, PathBuf};

use naru_core::cluster::ClusterSpec;

use crate::{ClusterError, parse};

/// A place where the cluster is agreed.
pub trait Source {
    /// What to call it in a log.
    fn describe(&self) -> String;

    /// The cluster as it is now.
    ///
    /// # Errors
    /// [`ClusterError`]; the caller goes on with what it had.
    fn load(&self) -> Result<ClusterSpec, ClusterError>;

    /// The file whose changes are changes of the cluster, where there is one.
    fn file(&self) -> Option<&Path> {
        None
    }
}

/// A cluster file on this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileSource {
    /// The file.
    pub path: PathBuf,
}

impl Source for FileSource {
    fn describe(&self) -> String {
        self.path.display().to_string()
    }

    fn load(&self) -> Result<ClusterSpec, ClusterError> {
        let unreadable = |source| ClusterError::Unreadable { file: self.path.clone(), source };
        parse(&self.path, &std::fs::read_to_string(&self.path).map_err(unreadable)?)
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.path)
    }
}
