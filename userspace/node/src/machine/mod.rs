//! The machine as a node: its settings ([`Settings`]), its state ([`Survey`]), the facts that init found and set
//! ([`NodeFacts`]), and the locks and marks by which processes of naru recognise each other and their own objects.
//!
//! Plans import from here; nothing here imports a plan.

mod addresses;
mod agent;
mod contact;
mod error;
mod facts;
mod limits;
mod lock;
mod networks;
mod origin;
mod overlap;
mod pools;
pub(crate) mod presence;
mod request;
mod settings;
mod survey;
pub(crate) mod undo;
mod versions;

pub use agent::AgentPlace;
pub use contact::LastContact;
pub use error::MachineError;
pub use facts::{NodeFacts, PoolFacts, pool_name};
pub use limits::{Limits, limits};
pub use networks::OWN_NETWORK;
pub use origin::Origin;
pub use overlap::overlaps;
pub use pools::{NamedPool, PoolChange};
pub use presence::Presence;
pub use request::{Delegated, Request, Standalone};
pub use settings::{Pool, PoolSubnets, Settings};
pub use survey::Survey;
pub use versions::refuse_newer;

pub(crate) use lock::{lock, remove, take as take_lock, write_json};
pub(crate) use survey::first_foreign;
pub(crate) use versions::is_older;

use std::net::{Ipv4Addr, Ipv6Addr};

use naru_netlink::{FilterMark, Gateways, Marks};

use crate::{host, paths::Paths};

/// Name of the tunnel device.
pub const DEVICE: &str = "naru-vx";

/// The next hop that every pod has, and of every route to a remote block.
pub const GATEWAYS: Gateways = Gateways {
    v4: Ipv4Addr::from_octets(naru_abi::GATEWAY_V4),
    v6: Ipv6Addr::from_octets(naru_abi::GATEWAY_V6),
};

/// The marks that distinguish naru's routes, rules, filters and veths from everybody else's.
pub const MARKS: Marks = Marks {
    protocol: naru_abi::ROUTE_PROTOCOL,
    alias_prefix: "naru1:",
    filter: FilterMark { priority: naru_abi::FILTER_PRIORITY, handle: naru_abi::FILTER_HANDLE },
    gateways: GATEWAYS,
};

/// The node's facts, if it is initialised in this boot and its pins and its store are there.
///
/// # Errors
/// [`MachineError::Newer`]; the boot cannot be told, or a file is there but not readable.
pub fn current(paths: &Paths) -> Result<Option<NodeFacts>, MachineError> {
    versions::check_header(paths)?;
    let Some(facts) = NodeFacts::load(paths)? else {
        refuse_newer(paths)?;
        return Ok(None);
    };
    let is_of_this_boot = facts.abi == naru_abi::ABI_VERSION && facts.boot_id == host::boot_id()?;
    let is_here = is_of_this_boot && facts.netns == netns()?;
    let is_there = || paths.pins().first_missing().is_none() && paths.lease_store().exists();
    if is_here && is_there() {
        return Ok(Some(facts));
    }
    refuse_newer(paths)?;
    Ok(None)
}

/// The identity of this network namespace.
///
/// # Errors
/// procfs is not there.
pub(crate) fn netns() -> Result<String, MachineError> {
    let identity = naru_netlink::netns::own_identity();
    Ok(identity.map_err(|error| MachineError::Namespace(error.to_string()))?.to_string())
}
