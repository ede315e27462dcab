use naru_cni_types::{Code, Error, NetworkConf};
use naru_core::ipam::{Domain, Family};
use naru_node::{
    init,
    machine::{Delegated, pool_name},
};

use super::tools;
use crate::{delegate::Delegate, setting};

/// Tells if an ADD could be served now: the node is ready (after a reboot it is made ready), and its pool has an
/// address of every family it serves.
pub(super) fn status(conf: &NetworkConf, stdin: &[u8]) -> Result<String, Error> {
    match Delegate::of(&conf.network, stdin) {
        Some(delegate) => status_of_delegate(conf, delegate),
        None => status_of_own(conf),
    }
}

fn unavailable(why: &dyn std::fmt::Display) -> Error {
    Error::new(Code::NotAvailable, why.to_string())
}

/// With another IPAM plugin: the node is ready, and the plugin says that it is ready too.
fn status_of_delegate(conf: &NetworkConf, delegate: Delegate<'_>) -> Result<String, Error> {
    let paths = setting::paths(&conf.network.naru);
    let node = init::ensure_delegated(&paths, &Delegated::default()).map_err(|why| unavailable(&why))?;
    tools(&paths, &node).map_err(|why| unavailable(&why))?;
    delegate.status().map(|()| String::new())
}

fn status_of_own(conf: &NetworkConf) -> Result<String, Error> {
    let standalone = setting::standalone(conf)?;
    let paths = setting::paths(&conf.network.naru);
    let named = setting::named_pool(conf);
    let node = match named {
        Some(name) => init::ensure_pool(&paths, name),
        None => init::ensure(&paths, standalone.as_ref()),
    }
    .map_err(|why| unavailable(&why))?;
    let store = tools(&paths, &node).map_err(|why| unavailable(&why))?.store;
    let subnets = standalone.map(|standalone| standalone.subnets).unwrap_or_default();
    let pool = named.map_or_else(|| pool_name(&subnets), str::to_owned);
    let mut total = 0;
    for family in Family::ALL {
        let usage = store.usage(&Domain::naru(), &pool, family).map_err(|why| unavailable(&why))?;
        total += usage.total;
        // Cooling addresses are given out if nothing else is left.
        if usage.total > 0 && usage.free() + usage.cooling == 0 {
            return Err(unavailable(&format!("pool {pool}: no {family} address left: {usage}")));
        }
    }
    if total == 0 { Err(unavailable(&format!("pool {pool}: has no range"))) } else { Ok(String::new()) }
}
