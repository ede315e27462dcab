use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Write},
    path::Path,
};

use serde::Serialize;

use super::MachineError;
use crate::{host, paths::Paths};

/// Holds the node's init lock until it is dropped; waits for whoever holds it now.
pub(crate) fn lock(paths: &Paths) -> Result<File, MachineError> {
    let path = paths.init_lock();
    let open = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = open.map_err(MachineError::file(&path, "open"))?;
    file.lock().map_err(MachineError::file(&path, "lock"))?;
    Ok(file)
}

/// Takes the place of the node's agent until the file is dropped. The node must be initialised.
///
/// # Errors
/// [`MachineError::AgentRuns`] while another process has it.
pub fn agent_lock(paths: &Paths) -> Result<File, MachineError> {
    let path = paths.agent_lock();
    let open = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
    let mut file = open.map_err(MachineError::file(&path, "open"))?;
    if file.try_lock().is_err() {
        let mut holder = String::new();
        file.read_to_string(&mut holder).map_err(MachineError::file(&path, "read"))?;
        return Err(MachineError::AgentRuns { pid: holder.trim().to_owned() });
    }
    file.set_len(0).map_err(MachineError::file(&path, "write"))?;
    writeln!(file, "{}", std::process::id()).map_err(MachineError::file(&path, "write"))?;
    Ok(file)
}

/// Writes `value` atomically; `false` when the file was already so.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<bool, MachineError> {
    let content = serde_json::to_vec_pretty(value);
    let mut content = content.map_err(|source| MachineError::Content { path: path.to_owned(), source })?;
    content.push(b'\n');
    Ok(host::install_file(path, &content, 0o644)?)
}

/// Removes a file; one that is gone is passed over.
pub(crate) fn remove(path: &Path) -> Result<(), MachineError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(MachineError::file(path, "remove")(error)),
        _ => Ok(()),
    }
}
