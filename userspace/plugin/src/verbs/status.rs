use naru_cni_types::{Code, Error, NetworkConf};
use naru_core::{
    desired::IPV6_MIN_MTU,
    ids::AttachmentId,
    ipam::{AddressRequest, Assignment, Domain},
};
use naru_node::{
    endpoint::Cause,
    init,
    machine::{Delegated, NodeFacts, Request, pool_name},
    paths::Paths,
};
use naru_store::StateStore;

use super::tools;
use crate::{answer, cause, clock, delegate::Delegate, setting};

/// Checks that an ADD could be served now, by all of its steps that leave nothing behind: the configuration is read,
/// the node made ready, and addresses are assigned in a transaction that is rolled back.
pub(super) fn status(conf: &NetworkConf, stdin: &[u8]) -> Result<String, Error> {
    match Delegate::of(&conf.network, stdin) {
        Some(delegate) => status_of_delegate(conf, delegate),
        None => status_of_own(conf),
    }
}

fn unavailable(why: &dyn std::fmt::Display) -> Error {
    Error::new(Code::NotAvailable, why.to_string())
}

/// Checks for another IPAM that the node is ready, its store can be written, and the plugin says that it is ready.
fn status_of_delegate(conf: &NetworkConf, delegate: Delegate<'_>) -> Result<String, Error> {
    let (paths, delegated) = (setting::paths(&conf.network.naru), Delegated::default());
    let node = init::ensure_delegated(&paths, &delegated).map_err(|why| unavailable(&why))?;
    let request = Request { delegated: Some(delegated), ..Request::default() };
    rehearsed(&paths, &node, &request, |store| Ok(store.rehearse_write()?))?;
    delegate.status().map(|()| String::new())
}

fn status_of_own(conf: &NetworkConf) -> Result<String, Error> {
    let standalone = setting::standalone(conf)?;
    let addressing = setting::addressing(conf)?;
    answer::check_resolv_conf(addressing)?;
    setting::check_routes(addressing)?;
    let paths = setting::paths(&conf.network.naru);
    let named = setting::named_pool(conf);
    let node = match named {
        Some(name) => init::ensure_pool(&paths, name),
        None => init::ensure(&paths, standalone.as_ref()),
    }
    .map_err(|why| unavailable(&why))?;
    let subnets = standalone.as_ref().map(|standalone| standalone.subnets.as_slice()).unwrap_or_default();
    let pool = named.map_or_else(|| pool_name(subnets), str::to_owned);
    let owner = AttachmentId::new(&conf.network.name, "status", "eth0").map_err(|why| unavailable(&why))?;
    let wish = AddressRequest::new(Domain::naru(), pool, owner);
    let request = Request { standalone, ..Request::default() };
    let assigned = rehearsed(&paths, &node, &request, |store| Ok(store.rehearse(&wish, clock::now())?))?;
    refuse_small_mtu(conf.mtu.unwrap_or(node.pod_mtu), &assigned).map(|()| String::new())
}

/// Rehearses an assignment. If the store or the pins of a node are gone that looked ready, makes it ready again first,
/// as ADD does.
fn rehearsed<T>(
    paths: &Paths,
    node: &NodeFacts,
    request: &Request,
    rehearse: impl Fn(&mut StateStore) -> Result<T, Cause>,
) -> Result<T, Error> {
    let attempt = |node: &NodeFacts| rehearse(&mut tools(paths, node)?.store);
    let done = match attempt(node) {
        Err(why) if cause::asks_for_init(&why) => {
            let ready = init::run(paths, request).map_err(|error| unavailable(&error))?;
            attempt(&ready.facts)
        }
        done => done,
    };
    done.map_err(|why| unavailable(&why))
}

fn refuse_small_mtu(mtu: u32, assigned: &Assignment) -> Result<(), Error> {
    let has_v6 = assigned.addresses.iter().any(std::net::IpAddr::is_ipv6);
    if has_v6 && mtu < IPV6_MIN_MTU { Err(unavailable(&Cause::SmallMtu(mtu))) } else { Ok(()) }
}
