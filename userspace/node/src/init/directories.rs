use std::{
    io::ErrorKind,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use super::InitError;
use crate::{
    host::{HostError, Journal},
    paths::Paths,
};

/// First word of a directory's key in the journal: init made it, so uninstall removes it when it is empty.
pub(crate) const DIRECTORY: &str = "directory";

/// Makes the directories the node keeps its files in; returns those that were not there, the outer ones first.
pub(super) fn make(paths: &Paths) -> Result<Vec<PathBuf>, InitError> {
    let mut made = Vec::new();
    for directory in [&paths.state, &paths.run, &paths.bpf] {
        for path in missing(directory) {
            create(&path)?;
            made.push(path);
        }
    }
    Ok(made)
}

/// Notes the directories that were made, for uninstall.
pub(super) fn remember(made: &[PathBuf], journal: &mut dyn Journal) -> Result<(), InitError> {
    for directory in made {
        let key = format!("{DIRECTORY} {}", directory.display());
        let noted = journal.remember(&key, "absent");
        noted.map_err(|source| HostError::Journal { key, source })?;
    }
    Ok(())
}

fn create(path: &Path) -> Result<(), InitError> {
    match std::fs::DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(InitError::file(path, "create")(error)),
        _ => Ok(()),
    }
}

/// The part of the path that is not there, the outermost directory first.
fn missing(directory: &Path) -> Vec<PathBuf> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let mut missing: Vec<PathBuf> =
        directory.ancestors().take_while(is_missing).map(Path::to_owned).collect();
    missing.reverse();
    missing
}
