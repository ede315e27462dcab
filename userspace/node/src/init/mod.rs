//! Making this machine a node: one idempotent plan, shared by `naru init`, the agent and a plugin after a reboot.
//!
//! [`run`] is the plan. It looks first and refuses before it changes anything, then goes from the inside out: files,
//! bpffs, programs, overlay device, addresses, routes, firewall; the runtime's configuration comes last.

mod agent;
mod config;
mod conflist;
mod directories;
mod error;
mod facts;
mod files;
mod follow;
mod memory;
mod named;
mod overlay;
mod pools;
mod request;
mod run;
mod survey;
mod uplinks;
mod versions;

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use agent::AgentPlace;
pub use error::InitError;
pub use facts::{NodeFacts, PoolFacts, pool_name};
pub use follow::follow;
pub(crate) use follow::readjust;
pub use memory::{Memory, Pool, PoolSubnets};
pub use named::{NamedPool, PoolChange};
pub use overlay::{DEVICE, overlay_mac};
pub use request::Request;
pub use run::{Ready, run, run_as_agent};
pub use survey::Survey;
pub use versions::refuse_newer;

pub(crate) use conflist::remove as remove_conflist;
pub(crate) use directories::{DIRECTORY, mark as directories_mark, recall as recall_directories, write_mark};
pub(crate) use files::{lock, remove, write_json};
pub(crate) use run::overlaps;

use crate::{datapath::Pins, host, paths::Paths};

/// The `ipam.subnet` of a network configuration: a single machine's pods need no cluster file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standalone {
    /// Subnets that pods of this machine take their addresses from; together one pool.
    pub subnets: Vec<IpNet>,
    /// Addresses of the subnets that no pod gets: the configuration's `gateway` (note: `gateway`).
    pub reserved: Vec<IpAddr>,
    /// Whether pods' packets that leave the subnets take the machine's address (`ipMasq`).
    pub masquerade: bool,
}

/// What another IPAM gives pods of this machine addresses of, as its results show.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Delegated {
    /// The subnets.
    pub subnets: Vec<IpNet>,
    /// Whether pods' packets that leave the machine take its address (`ipMasq`).
    pub masquerade: bool,
}

/// As [`ensure`], for a network whose addresses another IPAM gives: the node needs no pool for it.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_delegated(paths: &Paths, delegated: &Delegated) -> Result<NodeFacts, InitError> {
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
/// The store's pools (domain `naru`, named by [`pool_name`]) have their ranges when it returns.
///
/// # Errors
/// [`InitError`]; [`InitError::is_retryable`] tells whether a later ADD may succeed without anybody's doing.
pub fn ensure(paths: &Paths, standalone: Option<&Standalone>) -> Result<NodeFacts, InitError> {
    let wanted = standalone.map_or(&[][..], |standalone| &standalone.subnets);
    if let Some(facts) = current(paths)?.filter(|facts| facts.serves(wanted)) {
        return Ok(facts);
    }
    let request = Request { standalone: standalone.cloned(), ..Request::default() };
    let facts = run::run_unless(paths, &request, |facts| facts.serves(wanted))?;
    if facts.serves(wanted) { Ok(facts) } else { Err(InitError::NotConfigured) }
}

/// As [`ensure`], for pods of the pool of that name, which an administrator made.
///
/// # Errors
/// As [`ensure`]; [`InitError::NoPool`] where there is none.
pub fn ensure_pool(paths: &Paths, name: &str) -> Result<NodeFacts, InitError> {
    let facts = match current(paths)?.filter(|facts| facts.has_pool(name)) {
        Some(facts) => return Ok(facts),
        None => run::run_unless(paths, &Request::default(), |facts| facts.has_pool(name))?,
    };
    let known = facts.pools.iter().map(|pool| pool.name.clone()).collect();
    if facts.has_pool(name) { Ok(facts) } else { Err(InitError::NoPool { pool: name.to_owned(), known }) }
}

/// What the node is, if it is initialised in this boot and its pins and its store are there.
///
/// # Errors
/// [`InitError::Newer`]; the boot cannot be told, or a file is there but not readable.
pub fn current(paths: &Paths) -> Result<Option<NodeFacts>, InitError> {
    versions::glance(paths)?;
    let Some(facts) = NodeFacts::load(paths)? else {
        versions::refuse_newer(paths)?;
        return Ok(None);
    };
    let is_of_this_boot = facts.abi == naru_abi::ABI_VERSION && facts.boot_id == host::boot_id()?;
    let is_there = || Pins::new(paths).first_missing().is_none() && paths.lease_store().exists();
    if is_of_this_boot && is_there() {
        return Ok(Some(facts));
    }
    versions::refuse_newer(paths)?;
    Ok(None)
}
