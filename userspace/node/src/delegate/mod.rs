//! Other IPAM plugins: running them, and giving their addresses back.

mod run;

use std::{fs::File, time::Duration};

use naru_core::ids::AttachmentId;
use naru_store::{DelegatedLease, NodeStore, StoreError};

pub use run::{Run, RunError, Said};

use crate::{
    machine::{self, MachineError},
    paths::Paths,
};

/// Time limit for a plugin unless the configuration sets another; runtimes wait longer than that for naru.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Time limit for a DEL that no runtime requested, as init and the runtime wait for it.
const UNASKED: Duration = Duration::from_secs(10);

/// The reasons for which a lease was not given back.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The plugin did not run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// It ran and refused: what it wrote, on one line.
    #[error("DEL failed: {0}")]
    Refused(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Locks the leases, while noted leases are given back and while a new one is noted: a lease made in between must not
/// be taken for the old one.
///
/// # Errors
/// The file cannot be made or locked.
pub fn lock(paths: &Paths) -> Result<File, MachineError> {
    machine::take_lock(paths.delegate_lock())
}

/// Makes the plugin of a noted lease give it back, with the configuration with which it was made, and forgets it. A
/// plugin that never answered and does not exist gave nothing: its name was a typing error. The caller holds the
/// [`lock`].
///
/// # Errors
/// [`ReleaseError`]; then the lease stays noted.
pub fn release(store: &mut NodeStore, lease: &DelegatedLease) -> Result<(), ReleaseError> {
    let variables = [
        ("CNI_COMMAND", "DEL"),
        ("CNI_CONTAINERID", lease.id.container()),
        ("CNI_IFNAME", lease.id.ifname()),
        ("CNI_NETNS", ""),
        ("CNI_ARGS", &lease.args),
        ("CNI_PATH", &lease.path),
    ];
    let DelegatedLease { plugin, path, conf, .. } = lease;
    let run = Run { plugin, path, variables: &variables, stdin: conf, deadline: UNASKED };
    if lease.result.is_none() && run.look().is_err() {
        return Ok(store.forget_delegated(&lease.id)?);
    }
    let said = run.run()?;
    if !said.status.success() {
        let text = String::from_utf8_lossy(&said.stdout);
        return Err(ReleaseError::Refused(text.split_whitespace().collect::<Vec<_>>().join(" ")));
    }
    Ok(store.forget_delegated(&lease.id)?)
}

/// Gives back the leases that `concerns` chooses. Returns those that could not be given back. The caller holds the
/// [`lock`]. After the first plugin that hangs, the others of its kind wait for the next time.
///
/// # Errors
/// The store cannot be read.
pub fn release_those(
    store: &mut NodeStore,
    concerns: impl Fn(&DelegatedLease) -> bool,
) -> Result<Vec<(AttachmentId, ReleaseError)>, StoreError> {
    let mut failed = Vec::new();
    let mut hanging: Vec<String> = Vec::new();
    for lease in store.delegated()?.into_iter().filter(concerns) {
        if hanging.contains(&lease.plugin) {
            continue;
        }
        if let Err(error) = release(store, &lease) {
            if matches!(error, ReleaseError::Run(RunError::Deadline(_))) {
                hanging.push(lease.plugin.clone());
            }
            failed.push((lease.id, error));
        }
    }
    Ok(failed)
}
