use std::{
    ffi::OsStr,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use crate::{
    init::{self, InitError},
    paths::Paths,
};

/// Beginnings of the names of our files in the run directory; the store's companions (`-wal`) begin with its name.
const RUN_FILES: [&str; 3] = ["state.db", "node.json", "lock"];
/// The same in the state directory.
const STATE_FILES: [&str; 2] = ["node.db", "init.json"];

/// Removes our files, then those directories that init made and that are empty now.
pub(super) fn remove(paths: &Paths, made: &[PathBuf]) -> Result<(), InitError> {
    remove_files(&paths.run, &RUN_FILES)?;
    remove_files(&paths.state, &STATE_FILES)?;
    let mut made = made.to_vec();
    made.sort_by_key(|directory| std::cmp::Reverse(directory.components().count()));
    for directory in made {
        match std::fs::remove_dir(&directory) {
            Err(error) if !is_left_alone(&error) => return Err(InitError::file(directory, "remove")(error)),
            _ => {}
        }
    }
    Ok(())
}

/// Unlinks every pin of ours, of whichever version; programs and maps go with the last of them.
pub(super) fn unpin(bpf: &Path) -> Result<(), InitError> {
    for entry in entries(bpf)? {
        if name_begins(&entry, &["abi"]) {
            std::fs::remove_dir_all(&entry).map_err(InitError::file(&entry, "remove"))?;
        }
    }
    Ok(())
}

/// Somebody put a file there, or it is gone.
fn is_left_alone(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::NotFound)
}

fn remove_files(directory: &Path, beginnings: &[&str]) -> Result<(), InitError> {
    for entry in entries(directory)? {
        if name_begins(&entry, beginnings) {
            init::remove(&entry)?;
        }
    }
    Ok(())
}

/// Whether the file's name begins so, a temporary file's leading dot aside.
fn name_begins(path: &Path, beginnings: &[&str]) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let name = name.strip_prefix('.').unwrap_or(name);
    beginnings.iter().any(|beginning| name.starts_with(beginning))
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, InitError> {
    match std::fs::read_dir(directory) {
        Ok(entries) => Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(InitError::file(directory, "list")(error)),
    }
}
