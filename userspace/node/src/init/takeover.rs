//! Addresses that another network's pods keep while this one takes its place.

use std::{io::ErrorKind, path::PathBuf};

use naru_core::ipam::Domain;
use naru_store::StateStore;

use crate::{
    endpoint::{Imported, host_local_files, import},
    host,
    machine::{MachineError, NodeFacts, OWN_NETWORK},
    paths::Paths,
};

/// Takes over what host-local gave to containers that live, from each of the directories that exists. Returns a line
/// for each address that could not be taken over.
///
/// # Errors
/// A directory cannot be read, or the store cannot be written: addresses in use might be given out again.
pub(super) fn run(
    paths: &Paths,
    directories: &[PathBuf],
    facts: &NodeFacts,
) -> Result<Vec<String>, MachineError> {
    let mut refused = Vec::new();
    for directory in directories {
        let files = match host_local_files(directory) {
            Ok(files) => files,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(MachineError::file(directory, "read")(error)),
        };
        let mut store = StateStore::open(&paths.lease_store(), &facts.boot_id)?;
        // The runtime's DEL for these containers comes by our configuration from now on.
        let done = import(&mut store, &files, (&Domain::naru(), OWN_NETWORK), host::now())?;
        refused.extend(files.iter().zip(done).filter_map(|(file, imported)| match imported {
            Imported::Refused(why) => Some(format!(
                "{} of container {} is not taken over from {}: {why}",
                file.address,
                file.container,
                directory.display()
            )),
            Imported::Adopted | Imported::Known | Imported::Stale => None,
        }));
    }
    Ok(refused)
}
