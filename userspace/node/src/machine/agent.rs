use std::{
    fs::{File, Metadata, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::MetadataExt,
    path::Path,
    thread,
    time::Duration,
};

use naru_store::lock_file;

use super::MachineError;
use crate::paths::Paths;

/// Number of attempts at a lock that is taken, and the pause after each: a process that only checks if an agent runs
/// holds it for a moment.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// The place of the node's agent, held until it is dropped: a node has one agent, and no uninstall beside it.
#[derive(Debug)]
pub struct AgentPlace {
    file: File,
}

impl AgentPlace {
    /// Takes the place. The run directory must be there.
    ///
    /// # Errors
    /// [`MachineError::AgentRuns`] while another process has it.
    pub fn take(paths: &Paths) -> Result<Self, MachineError> {
        let path = paths.agent_lock();
        Self::lock(&path, lock_file::open(&path).map_err(MachineError::file(&path, "open"))?)
    }

    /// Takes the place if an agent has run here before; otherwise creates nothing.
    ///
    /// # Errors
    /// As [`AgentPlace::take`].
    pub fn take_existing(paths: &Paths) -> Result<Option<Self>, MachineError> {
        let path = paths.agent_lock();
        match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => {
                // Where the file system is read-only, nobody can be kept out either.
                let _ = lock_file::close_to_others(&file);
                Self::lock(&path, file).map(Some)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(MachineError::file(&path, "open")(error)),
        }
    }

    /// Fails while another process has the place; takes nothing.
    ///
    /// # Errors
    /// As [`AgentPlace::take`].
    pub(crate) fn refuse_other(paths: &Paths) -> Result<(), MachineError> {
        let path = paths.agent_lock();
        let Ok(mut file) = File::open(&path) else { return Ok(()) };
        match file.try_lock_shared() {
            Ok(()) => Ok(()),
            Err(_) => Err(runs(&path, &mut file)),
        }
    }

    /// Returns true if the place is held on the file that is there now: the run directory may have been wiped.
    #[must_use]
    pub fn is_held(&self, paths: &Paths) -> bool {
        let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
        let held = self.file.metadata().ok().map(identity);
        let there = std::fs::metadata(paths.agent_lock()).ok().map(identity);
        held.is_some() && held == there
    }

    fn lock(path: &Path, mut file: File) -> Result<Self, MachineError> {
        let mut tries = 1..TRIES;
        while file.try_lock().is_err() {
            if tries.next().is_none() {
                return Err(runs(path, &mut file));
            }
            thread::sleep(PAUSE);
        }
        file.set_len(0).map_err(MachineError::file(path, "write"))?;
        writeln!(file, "{}", std::process::id()).map_err(MachineError::file(path, "write"))?;
        Ok(Self { file })
    }
}

/// Returns the refusal, which names the process that holds the place.
fn runs(path: &Path, file: &mut File) -> MachineError {
    let mut holder = String::new();
    match file.read_to_string(&mut holder) {
        // An agent writes its process id as soon as it has the lock.
        Ok(0) => MachineError::LockedByOther { path: path.to_owned() },
        Ok(_) => MachineError::AgentRuns { pid: holder.trim().to_owned() },
        Err(error) => MachineError::file(path, "read")(error),
    }
}
