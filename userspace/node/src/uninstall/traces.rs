use crate::machine;
use std::{
    ffi::OsStr,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use naru_bpf::Pins;

use crate::{endpoint::PodNotes, host, init, machine::MachineError, paths::Paths};

/// Removes our files, and those directories that init made and that are empty now; last the list of these directories.
pub(super) fn remove(paths: &Paths, made: &[PathBuf]) -> Result<(), MachineError> {
    remove_files(&paths.run, |name| is_of_run(paths, name))?;
    remove_files(&paths.cni_conf, |name| host::is_temporary_of(&paths.conflist(), name))?;
    let (state, others): (Vec<_>, Vec<_>) = made.iter().partition(|made| paths.state.starts_with(made));
    remove_directories(others)?;
    if !state.is_empty() {
        init::write_mark(paths, &state)?;
    }
    machine::remove(&paths.node_store())?;
    PodNotes::of(paths).remove();
    remove_files(&paths.state, |name| is_of_state(paths, name))?;
    if init::retire_state(paths, &state)? {
        return Ok(());
    }
    machine::remove(&init::directories_mark(paths))?;
    remove_directories(state)
}

/// The runtime's network configurations that name our plugin.
pub(super) fn calling_us(directory: &Path) -> Vec<PathBuf> {
    let is_read = |path: &PathBuf| {
        let extension = path.extension().and_then(OsStr::to_str);
        matches!(extension, Some("conf" | "conflist" | "json"))
    };
    let names_us = |path: &PathBuf| {
        let text = std::fs::read(path).unwrap_or_default();
        let conf: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
        let listed = conf.get("plugins").and_then(serde_json::Value::as_array).into_iter().flatten();
        let mut types = listed.chain([&conf]).filter_map(|plugin| plugin.get("type")?.as_str());
        types.any(|name| name == "naru-cni")
    };
    let mut all = entries(directory).unwrap_or_default();
    all.retain(|path| is_read(path) && names_us(path));
    all.sort();
    all
}

/// Removes leftovers of an init that was killed before it could note its work, or of an uninstall that was killed at
/// its very end. Returns true if there were any.
pub(super) fn remove_remnants(paths: &Paths) -> Result<bool, MachineError> {
    let files = remove_files(&paths.run, |name| is_of_run(paths, name))?
        + remove_files(&paths.state, |name| is_of_state(paths, name))?;
    let had_draft = init::remove_draft(paths)?;
    PodNotes::of(paths).remove();
    let mark = init::directories_mark(paths);
    if files == 0 && !mark.exists() {
        return Ok(had_draft);
    }
    machine::remove(&mark)?;
    remove_empty(paths)?;
    Ok(true)
}

/// Removes our directories if they are empty, when it is no longer known which of them init made.
pub(super) fn remove_empty(paths: &Paths) -> Result<(), MachineError> {
    remove_directories(vec![&paths.bpf, &paths.run, &paths.state])
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

/// Unlinks every pin of ours, of whichever version; programs and maps go with the last of them. An empty directory of
/// this version's is what an init left that was killed before it pinned anything.
pub(super) fn unpin(paths: &Paths) -> Result<(), MachineError> {
    let versions = Pins::versions(&paths.bpf).map_err(MachineError::file(&paths.bpf, "list"))?;
    for pins in versions.into_iter().map(|version| paths.pins_of(version)) {
        std::fs::remove_dir_all(pins.root()).map_err(MachineError::file(pins.root(), "remove"))?;
    }
    remove_directories(vec![&paths.pins().root().to_owned()])
}

/// Somebody put a file there, or it is gone.
fn is_left_alone(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::NotFound)
}

/// Removes files of ours, by name, from the directory. Returns their number. Others may keep files there.
fn remove_files(directory: &Path, is_ours: impl Fn(&str) -> bool) -> Result<usize, MachineError> {
    let name_of = |entry: &PathBuf| entry.file_name().and_then(OsStr::to_str).map(str::to_owned);
    let mut ours = entries(directory)?;
    ours.retain(|entry| name_of(entry).is_some_and(|name| is_ours(&name)));
    // A directory of such a name goes if it is empty.
    let (directories, files): (Vec<_>, Vec<_>) = ours.into_iter().partition(|entry| entry.is_dir());
    remove_directories(directories.iter().collect())?;
    for file in &files {
        machine::remove(file)?;
    }
    Ok(files.len())
}

/// Returns true if a file of the run directory is ours by its name.
fn is_of_run(paths: &Paths, name: &str) -> bool {
    let locks = [paths.init_lock(), paths.agent_lock(), paths.delegate_lock(), paths.pods_lock()];
    locks.iter().any(|lock| is_named(lock, name))
        || is_named(&paths.agent_socket(), name)
        || is_named(&paths.policy_socket(), name)
        || naru_store::is_file_of(&paths.lease_store(), name)
        || is_written(&paths.node_facts(), name)
        || is_written(&paths.record(), name)
        || is_written(&paths.nft_sight(), name)
        || is_written(&paths.undo_copy(), name)
        || is_written(&paths.service_note(), name)
        || is_written(&paths.policy_note(), name)
}

/// The same of the state directory.
fn is_of_state(paths: &Paths, name: &str) -> bool {
    naru_store::is_file_of(&paths.node_store(), name)
        || is_written(&paths.settings(), name)
        || is_written(&paths.kubernetes_memory(), name)
        || is_written(&paths.contact(), name)
        || is_written(&paths.policy_standing(), name)
}

/// Returns true if it is the name of `file`, or of one that is about to take its place.
fn is_written(file: &Path, name: &str) -> bool {
    is_named(file, name) || host::is_temporary_of(file, name)
}

fn is_named(file: &Path, name: &str) -> bool {
    file.file_name() == Some(OsStr::new(name))
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
    fn our_files_are_known_by_their_exact_names_and_others_are_left() {
        let paths = Paths::under(Path::new("/x"));
        for ours in [
            "state.db",
            "state.db-wal",
            "state.db-journal",
            "state.db.lock",
            "state.db.new",
            "state.db.new-wal",
            "state.db.damaged-123",
            "state.db.damaged-123-shm",
            "lock",
            "agent.lock",
            "delegate.lock",
            "agent.sock",
            "pods.lock",
            "node.json",
            ".node.json.77-0.tmp",
            "ready.json",
            "nft.json",
            "undo.json",
            "services.json",
        ] {
            assert!(is_of_run(&paths, ours), "{ours}");
        }
        for other in [
            "state.db.bak",
            "state.db2",
            "state.db.damaged-of another day",
            "locksmith",
            "lock.old",
            "node.json.orig",
            ".node.json.swp",
            ".node.json.a-0.tmp",
            "node.db",
            "bpf",
        ] {
            assert!(!is_of_run(&paths, other), "{other}");
        }
        for ours in ["node.db", "node.db-shm", "node.db.damaged-0a1b-2c", "init.json", ".init.json.1-2.tmp"] {
            assert!(is_of_state(&paths, ours), "{ours}");
        }
        for other in ["node.db.copy", "init.json~", "state.db"] {
            assert!(!is_of_state(&paths, other), "{other}");
        }
    }
}
