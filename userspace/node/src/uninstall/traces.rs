use crate::machine;
use std::{
    ffi::OsStr,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use crate::{init, machine::MachineError, paths::Paths};

/// Beginnings of the names of our files in the run directory; the store's companions (`-wal`) begin with its name.
const RUN_FILES: [&str; 6] = ["state.db", "node.json", "ready.json", "lock", "agent.lock", "delegate.lock"];
/// The same in the state directory.
const STATE_FILES: [&str; 2] = ["node.db", "init.json"];

/// The same of what a killed init left beside the runtime's network configuration; not of the configuration itself.
const CONFLIST_REST: &str = "05-naru.conflist.";

/// Removes our files, and those directories that init made and that are empty now; last what says which these are.
pub(super) fn remove(paths: &Paths, made: &[PathBuf]) -> Result<(), MachineError> {
    remove_files(&paths.run, &RUN_FILES)?;
    remove_files(&paths.cni_conf, &[CONFLIST_REST])?;
    let (state, others): (Vec<_>, Vec<_>) = made.iter().partition(|made| paths.state.starts_with(made));
    remove_directories(others)?;
    if !state.is_empty() {
        init::write_mark(paths, &state)?;
    }
    machine::remove(&paths.node_store())?;
    remove_files(&paths.state, &STATE_FILES)?;
    machine::remove(&init::directories_mark(paths))?;
    remove_directories(state)
}

/// Removes what an init left that was killed before it could note what it did, or an uninstall at its very end.
/// Whether there was anything.
pub(super) fn remove_remnants(paths: &Paths) -> Result<bool, MachineError> {
    let files = remove_files(&paths.run, &RUN_FILES)? + remove_files(&paths.state, &STATE_FILES)?;
    let mark = init::directories_mark(paths);
    if files == 0 && !mark.exists() {
        return Ok(false);
    }
    machine::remove(&mark)?;
    remove_directories(vec![&paths.bpf, &paths.run, &paths.state])?;
    Ok(true)
}

/// Removes the directories, the inner ones first, but none that somebody put a file into.
fn remove_directories(mut directories: Vec<&PathBuf>) -> Result<(), MachineError> {
    directories.sort_by_key(|directory| std::cmp::Reverse(directory.components().count()));
    for directory in directories {
        match std::fs::remove_dir(directory) {
            Err(error) if !is_left_alone(&error) => {
                return Err(MachineError::file(directory, "remove")(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Unlinks every pin of ours, of whichever version; programs and maps go with the last of them.
pub(super) fn unpin(bpf: &Path) -> Result<(), MachineError> {
    for entry in entries(bpf)? {
        if name_begins(&entry, &["abi"]) {
            std::fs::remove_dir_all(&entry).map_err(MachineError::file(&entry, "remove"))?;
        }
    }
    Ok(())
}

/// Somebody put a file there, or it is gone.
fn is_left_alone(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::NotFound)
}

/// Removes the files in the directory whose names begin so; returns how many there were.
fn remove_files(directory: &Path, beginnings: &[&str]) -> Result<usize, MachineError> {
    let ours: Vec<PathBuf> =
        entries(directory)?.into_iter().filter(|entry| name_begins(entry, beginnings)).collect();
    for file in &ours {
        machine::remove(file)?;
    }
    Ok(ours.len())
}

/// Whether the file's name begins so, a temporary file's leading dot aside.
fn name_begins(path: &Path, beginnings: &[&str]) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let name = name.strip_prefix('.').unwrap_or(name);
    beginnings.iter().any(|beginning| name.starts_with(beginning))
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, MachineError> {
    match std::fs::read_dir(directory) {
        Ok(entries) => Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(MachineError::file(directory, "list")(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stores_companions_and_temporary_files_are_ours_and_others_are_not() {
        for ours in ["state.db", "state.db-wal", ".state.db.1234", "lock", "node.json"] {
            assert!(name_begins(Path::new(ours), &RUN_FILES), "{ours}");
        }
        for other in ["other.db", "bpf", "README"] {
            assert!(!name_begins(Path::new(other), &RUN_FILES), "{other}");
        }
        assert!(name_begins(Path::new(".05-naru.conflist.77-0.tmp"), &[CONFLIST_REST]));
        assert!(!name_begins(Path::new("05-naru.conflist"), &[CONFLIST_REST]));
    }
}
