use std::{
    io::ErrorKind,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::machine::{self, MachineError};
use crate::{
    host::{HostError, Journal},
    paths::Paths,
};

/// First word of a directory's key in the journal: init made it, so uninstall removes it when it is empty.
pub(crate) const DIRECTORY: &str = "directory";

/// Name of the list, in the state directory, of directories that init made but no journal names: because there is no
/// journal yet, or not any more.
const MARK: &str = "directories.made";

/// Limit of attempts to create the state directory while other processes create it too.
const TRIALS: usize = 50;

/// The path of that list.
pub(crate) fn mark(paths: &Paths) -> PathBuf {
    paths.state.join(MARK)
}

/// Writes that list.
pub(crate) fn write_mark(paths: &Paths, made: &[&PathBuf]) -> Result<(), MachineError> {
    machine::remove(&mark(paths))?;
    let list: Vec<String> = made.iter().map(|path| path.display().to_string()).collect();
    std::fs::write(mark(paths), list.join("\n")).map_err(MachineError::file(mark(paths), "write"))
}

/// Creates the state directory, in which the journal will be. It is moved into place together with the list, so that a
/// kill at any moment leaves no directory that is not known as ours.
pub(super) fn make_state(paths: &Paths) -> Result<(), MachineError> {
    for _ in 0..TRIALS {
        match try_make_state(paths) {
            // Another process makes it, too, and took our draft for one of a process that was killed.
            Err(MachineError::File { source, .. }) if source.kind() == ErrorKind::NotFound => {
                std::thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
    try_make_state(paths)
}

fn try_make_state(paths: &Paths) -> Result<(), MachineError> {
    if paths.state.exists() {
        return Ok(());
    }
    remove_draft(paths)?;
    let made = missing(&paths.state);
    let Some(outermost) = made.first() else { return Ok(()) };
    let draft = draft_of(outermost);
    let moved =
        |path: &Path| path.strip_prefix(outermost).map_or_else(|_| draft.clone(), |rest| draft.join(rest));
    made.iter().try_for_each(|path| create(&moved(path)))?;
    let list: Vec<String> = made.iter().map(|path| path.display().to_string()).collect();
    let mark = moved(&mark(paths));
    std::fs::write(&mark, list.join("\n")).map_err(MachineError::file(&mark, "write"))?;
    match std::fs::rename(&draft, outermost) {
        // Somebody else made it meanwhile.
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => remove_draft(paths).map(drop),
        result => result.map_err(MachineError::file(outermost, "move into place")),
    }
}

/// Removes leftovers of a killed [`make_state`] beside the state directory, or beside its outermost parent. Returns
/// true if there were any.
pub(crate) fn remove_draft(paths: &Paths) -> Result<bool, MachineError> {
    let mut found = false;
    for parent in paths.state.ancestors().filter(|path| path.file_name().is_some()) {
        let draft = draft_of(parent);
        match std::fs::remove_dir_all(&draft) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            result => {
                result.map_err(MachineError::file(&draft, "remove"))?;
                found = true;
            }
        }
    }
    Ok(found)
}

/// Removes the state directory, and the parents that init made with it, if they hold nothing but the list. All of them
/// go in one step, so that a kill at any moment leaves either the list or nothing of these names. Returns false, and
/// changes nothing, if there is a file of somebody else.
pub(crate) fn retire_state(paths: &Paths, made: &[&PathBuf]) -> Result<bool, MachineError> {
    let Some(outermost) = made.iter().min_by_key(|path| path.components().count()) else { return Ok(false) };
    if !holds_only(outermost, &mark(paths)) {
        return Ok(false);
    }
    let draft = draft_of(outermost);
    std::fs::rename(outermost, &draft).map_err(MachineError::file(*outermost, "move away"))?;
    remove_draft(paths)
}

/// Returns true if `file` is the only file below the directory.
fn holds_only(directory: &Path, file: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(directory) else { return false };
    entries.flatten().all(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => file.starts_with(entry.path()) && holds_only(&entry.path(), file),
        _ => entry.path() == file,
    })
}

/// The directory in which another is made before it is moved into place: a sibling with a name of ours.
fn draft_of(directory: &Path) -> PathBuf {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    directory.with_file_name(format!(".{name}.naru-init"))
}

/// Makes the other directories the node keeps its files in, each noted first.
pub(super) fn make(paths: &Paths, journal: &mut dyn Journal) -> Result<(), MachineError> {
    recall(paths, journal)?;
    crate::host::check_place(&paths.bpf)?;
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

/// Returns the missing part of the path, the outermost directory first.
fn missing(directory: &Path) -> Vec<PathBuf> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let mut missing: Vec<PathBuf> =
        directory.ancestors().take_while(is_missing).map(Path::to_owned).collect();
    missing.reverse();
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_directory_comes_and_goes_with_the_parents_that_were_made_for_it() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("var/lib/naru");
        let paths = Paths { state: state.clone(), ..Paths::under(root.path()) };
        let made = missing(&state);
        std::fs::create_dir_all(draft_of(&made[0]).join("left/of/a/kill")).unwrap();
        make_state(&paths).unwrap();
        assert_eq!(std::fs::read_to_string(mark(&paths)).unwrap().lines().count(), 3);
        let made: Vec<&PathBuf> = made.iter().collect();
        std::fs::write(root.path().join("var/theirs"), "").unwrap();
        assert!(!retire_state(&paths, &made).unwrap(), "somebody else's file stays");
        std::fs::remove_file(root.path().join("var/theirs")).unwrap();
        assert!(retire_state(&paths, &made).unwrap());
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
