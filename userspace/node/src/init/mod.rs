//! Making this machine a node: one idempotent plan, shared by `naru init`, the agent and a plugin after a reboot.

mod error;
mod facts;

use std::net::IpAddr;

use ipnet::IpNet;

pub use error::InitError;
pub use facts::{NodeFacts, pool_name};

use crate::paths::Paths;

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

/// What the plugin calls before every ADD and STATUS: returns at once when the node is initialised in this boot
/// and knows the subnets (reads `<run>/node.json`, looks at the pins); else initialises it under the lock, from
/// the state directory's copy of the last good cluster (or from `<config>/cluster.toml`'s copy made by `naru init`).
///
/// The store's pools (domain `naru`, named by [`pool_name`]) have their ranges when it returns.
///
/// # Errors
/// [`InitError`]; [`InitError::is_retryable`] tells whether a later ADD may succeed without anybody's doing.
pub fn ensure(paths: &Paths, standalone: Option<&Standalone>) -> Result<NodeFacts, InitError> {
    let _ = (paths, standalone);
    Err(InitError::NotConfigured)
}
