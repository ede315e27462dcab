use std::{
    io::ErrorKind,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use crate::machine::{self, MachineError};
use crate::{
    host::{HostError, Journal},
    paths::Paths,
};

/// First word of a directory's key in the journal: init made it, so uninstall removes it when it is empty.
pub(crate) const DIRECTORY: &str = "directory";

/// Name of the list, in the state directory, of directories that init made but that no journal has: because there is none
/// yet, or none any more.
const MARK: &str = "directories.made";

/// Where that list is.
pub(crate) fn mark(paths: &Paths) -> PathBuf {
    paths.state.join(MARK)
}

/// Writes that list.
pub(crate) fn write_mark(paths: &Paths, made: &[&PathBuf]) -> Result<(), MachineError> {
    let list: Vec<String> = made.iter().map(|path| path.display().to_string()).collect();
    std::fs::write(mark(paths), list.join("\n")).map_err(MachineError::file(mark(paths), "write"))
}

/// Makes the state directory, in which the journal will be.
pub(super) fn make_state(paths: &Paths) -> Result<(), MachineError> {
    let made = missing(&paths.state);
    made.iter().try_for_each(|path| create(path))?;
    if made.is_empty() { Ok(()) } else { write_mark(paths, &made.iter().collect::<Vec<_>>()) }
}

/// Makes the other directories the node keeps its files in, each noted first.
pub(super) fn make(paths: &Paths, journal: &mut dyn Journal) -> Result<(), MachineError> {
    recall(paths, journal)?;
    for directory in [&paths.run, &paths.bpf] {
        for path in missing(directory) {
            remember(&path, journal)?;
            create(&path)?;
        }
    }
    Ok(())
}

/// Notes what [`make_state`] made, in this process or in one that was killed.
pub(crate) fn recall(paths: &Paths, journal: &mut dyn Journal) -> Result<(), MachineError> {
    let Ok(list) = std::fs::read_to_string(mark(paths)) else { return Ok(()) };
    list.lines().try_for_each(|line| remember(Path::new(line), journal))?;
    machine::remove(&mark(paths))
}

/// Notes a directory of ours, for uninstall.
fn remember(directory: &Path, journal: &mut dyn Journal) -> Result<(), MachineError> {
    let key = format!("{DIRECTORY} {}", directory.display());
    let noted = journal.remember(&key, "absent");
    Ok(noted.map_err(|source| HostError::Journal { key, source })?)
}

fn create(path: &Path) -> Result<(), MachineError> {
    match std::fs::DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(MachineError::file(path, "create")(error))
        }
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
