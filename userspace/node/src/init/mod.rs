//! Making this machine a node: one idempotent plan, shared by `naru init`, the agent and a plugin after a reboot.
//!
//! [`run`] is the plan. It looks first and refuses before it changes anything, then goes from the inside out: files,
//! bpffs, programs, overlay device, addresses, routes, firewall; the runtime's configuration comes last.

mod conflist;
mod directories;
mod follow;
mod migrate;
mod pools;
mod run;

pub use follow::follow;
pub use run::{Ready, run, run_as_agent};

pub(crate) use conflist::remove as remove_conflist;
pub(crate) use directories::{
    DIRECTORY, mark as directories_mark, recall as recall_directories, remove_draft, retire_state, write_mark,
};

use crate::{
    machine::{Delegated, MachineError, NodeFacts, Request, Standalone, current},
    paths::Paths,
};

/// As [`ensure`], for a network whose addresses another IPAM gives: the node needs no pool for it.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_delegated(paths: &Paths, delegated: &Delegated) -> Result<NodeFacts, MachineError> {
    if let Some(facts) = current(paths)?.filter(|facts| facts.knows(delegated)) {
        return Ok(facts);
    }
    let request = Request { delegated: Some(delegated.clone()), ..Request::default() };
    run::run_unless(paths, &request, |facts| facts.knows(delegated))
}

/// What the plugin calls before every ADD and STATUS: returns at once when the node is initialised in this boot
/// and knows the subnets (reads `<run>/node.json`, looks at the pins); else initialises it under the lock, with
/// what the init before was told (`<state>/init.json`).
///
/// The store's pools (domain `naru`, named by [`crate::machine::pool_name`]) have their ranges when it returns.
///
/// # Errors
/// [`MachineError`]; [`MachineError::is_retryable`] tells whether a later ADD may succeed without anybody's doing.
pub fn ensure(paths: &Paths, standalone: Option<&Standalone>) -> Result<NodeFacts, MachineError> {
    let wanted = standalone.map_or(&[][..], |standalone| &standalone.subnets);
    if let Some(facts) = current(paths)?.filter(|facts| facts.serves(wanted)) {
        return Ok(facts);
    }
    let request = Request { standalone: standalone.cloned(), ..Request::default() };
    let facts = run::run_unless(paths, &request, |facts| facts.serves(wanted))?;
    if facts.serves(wanted) { Ok(facts) } else { Err(MachineError::NotConfigured) }
}

/// As [`ensure`], for pods of the pool of that name, which an administrator made.
///
/// # Errors
/// As [`ensure`]; [`MachineError::NoPool`] where there is none.
pub fn ensure_pool(paths: &Paths, name: &str) -> Result<NodeFacts, MachineError> {
    let facts = match current(paths)?.filter(|facts| facts.has_pool(name)) {
        Some(facts) => return Ok(facts),
        None => run::run_unless(paths, &Request::default(), |facts| facts.has_pool(name))?,
    };
    let known = facts.pools.iter().map(|pool| pool.name.clone()).collect();
    if facts.has_pool(name) { Ok(facts) } else { Err(MachineError::NoPool { pool: name.to_owned(), known }) }
}
