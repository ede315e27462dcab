//! Init makes this machine a node: one idempotent plan, shared by `naru init`, the agent and a plugin after a reboot.
//!
//! [`run`] is the plan. It looks first and refuses before it changes anything, then works from the inside out: files,
//! bpffs, programs, overlay device, addresses, routes, firewall; the runtime's configuration comes last.

mod chain;
mod conflist;
mod directories;
mod follow;
mod migrate;
mod other_machine;
mod pools;
mod run;
mod takeover;

pub use follow::follow;
pub use run::{Ready, run, run_as_agent};

pub use conflist::as_told;
pub(crate) use conflist::{Withdrawn, remove as remove_conflist};
pub(crate) use directories::{
    DIRECTORY, mark as directories_mark, recall as recall_directories, remove_draft, retire_state, write_mark,
};

use crate::{
    machine::{Delegated, LastContact, MachineError, NodeFacts, Request, Standalone, current},
    paths::Paths,
    readiness,
};

/// Does the same as [`ensure`] for a network whose addresses another IPAM gives: the node needs no pool for it.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_delegated(paths: &Paths, delegated: &Delegated) -> Result<NodeFacts, MachineError> {
    let request = Request { delegated: Some(delegated.clone()), ..Request::default() };
    ready(paths, &request, |facts| facts.knows(delegated))
}

/// Returns a node that is ready; the plugin calls this before every ADD and STATUS. It returns at once if the node was
/// initialised in this boot, is as init left it, and serves the network as requested (it reads two files, and checks
/// pins and kernel). Otherwise it initialises the node under the lock, with the settings of the last init
/// (`<state>/init.json`).
///
/// The store's pools (domain `naru`, named by [`crate::machine::pool_name`]) have their ranges when it returns.
///
/// # Errors
/// [`MachineError`]; [`MachineError::is_retryable`] tells whether a later ADD may succeed without anybody's doing.
pub fn ensure(paths: &Paths, standalone: Option<&Standalone>) -> Result<NodeFacts, MachineError> {
    let request = Request { standalone: standalone.cloned(), ..Request::default() };
    // Another init would bring no range: only the cluster does.
    let is_enough = |facts: &NodeFacts| facts.serves(standalone) || facts.waits_for_range(standalone);
    let facts = ready(paths, &request, is_enough)?;
    if facts.serves(standalone) {
        if standalone.is_none() {
            LastContact::refuse_overdue(paths, &facts.node)?;
        }
        return Ok(facts);
    }
    match facts.waits_for_range(standalone) {
        true => Err(MachineError::NoRange { node: facts.node }),
        false => Err(MachineError::NotConfigured),
    }
}

/// Does the same as [`ensure`] for pods of the pool of that name, which an administrator made.
///
/// # Errors
/// As [`ensure`]; [`MachineError::NoPool`] where there is none.
pub fn ensure_pool(paths: &Paths, name: &str) -> Result<NodeFacts, MachineError> {
    let facts = ready(paths, &Request::default(), |facts| facts.has_pool(name))?;
    let known = facts.pools.iter().map(|pool| pool.name.clone()).collect();
    if facts.has_pool(name) { Ok(facts) } else { Err(MachineError::NoPool { pool: name.to_owned(), known }) }
}

/// Returns the node if it is ready and `is_enough` holds; otherwise makes it so.
fn ready(
    paths: &Paths,
    request: &Request,
    is_enough: impl Fn(&NodeFacts) -> bool,
) -> Result<NodeFacts, MachineError> {
    match current(paths)?.filter(&is_enough) {
        Some(facts) if readiness::fault(paths, &facts)?.is_none() => Ok(facts),
        _ => run::run_unless(paths, request, is_enough),
    }
}
