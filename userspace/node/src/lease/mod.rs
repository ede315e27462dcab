//! Addresses for other main plugins (bridge, ptp, macvlan): no link, no map and no init, only the store, which is made
//! on first use. As there is no interface of ours, the network namespace shows whether a container lives.

use naru_netlink::netns;
use std::{
    net::IpAddr,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use naru_core::{
    ids::{AttachmentId, NetnsId, PodName},
    ipam::{AddressRequest, AddressSet, Domain, Millis, Row, State},
};
use naru_store::{StateStore, StoreError};

use crate::{
    endpoint::{Cause, netns_id},
    host,
    paths::Paths,
};

/// The request of an ADD.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ask {
    /// The attachment that asks; the addresses are unique in its network.
    pub id: AttachmentId,
    /// The pod it asks for.
    pub pod: PodName,
    /// The container's namespace. One that cannot be entered does no harm: nothing is made in it here.
    pub netns: PathBuf,
    /// One address is wanted of each.
    pub sets: Vec<AddressSet>,
    /// Addresses asked for, each of another set.
    pub addresses: Vec<IpAddr>,
}

/// Assigns one address of every set, in the order of the sets; asked again from the same namespace, the same ones.
///
/// # Errors
/// No address, one that is taken, or the store.
pub fn add(paths: &Paths, ask: &Ask, now: Millis) -> Result<Vec<IpAddr>, Cause> {
    let request = AddressRequest {
        pod: ask.pod.clone(),
        netns: namespace(&ask.netns),
        addresses: ask.addresses.clone(),
        ..AddressRequest::new(domain(&ask.id), String::new(), ask.id.clone())
    };
    let boot = host::boot_id()?;
    let mut store = match StateStore::open(&paths.lease_store(), &boot) {
        Err(error) if error.wants_creation() => StateStore::create(&paths.lease_store(), &boot, now)?.0,
        result => result?,
    };
    Ok(store.reserve_from_each(&request, &ask.sets, now)?.addresses)
}

/// Gives back what the attachment holds; nothing held is no error.
///
/// # Errors
/// The store; then the reconciler gives the addresses back once the namespace is gone.
pub fn del(paths: &Paths, id: &AttachmentId, now: Millis) -> Result<Vec<Row>, Cause> {
    match open(paths)? {
        Some(mut store) => Ok(store.release(&domain(id), id, now)?),
        None => Ok(Vec::new()),
    }
}

/// The addresses that the attachment holds.
///
/// # Errors
/// The store.
pub fn held(paths: &Paths, id: &AttachmentId) -> Result<Vec<IpAddr>, Cause> {
    let Some(store) = open(paths)? else { return Ok(Vec::new()) };
    Ok(store.lease_of(&domain(id), id)?.into_iter().map(|row| row.address).collect())
}

/// Gives back what attachments of the network hold that are not `valid`, those made since `began` apart.
///
/// # Errors
/// The store failed; every address that could be given back has been.
pub fn gc(
    paths: &Paths,
    network: &str,
    is_valid: impl Fn(&AttachmentId) -> bool,
    began: Millis,
) -> Result<(), Cause> {
    let Some(mut store) = open(paths)? else { return Ok(()) };
    let domain = Domain::ipam(network);
    let rows = store.rows()?;
    let stale = |row: &&Row| {
        let held = row.domain == domain && row.state == State::Assigned && row.since < began;
        held && row.owner.as_ref().is_some_and(|owner| !is_valid(owner))
    };
    for row in rows.iter().filter(stale) {
        // By generation: a container that was made anew meanwhile keeps its addresses.
        store.free_if_generation(&domain, row.address, row.generation, began)?;
    }
    Ok(())
}

/// Returns the first set that has no address left, in words; `None` if an ADD could be served.
///
/// # Errors
/// The store, or the place where the first ADD would make it.
pub fn shortage(paths: &Paths, network: &str, sets: &[AddressSet]) -> Result<Option<String>, Cause> {
    let Some(store) = open(paths)? else {
        StateStore::check_place(&paths.lease_store())?;
        return Ok(None);
    };
    for set in sets {
        let (pool, family) = (set.pool(), set.family());
        let usage = store.usage(&Domain::ipam(network), &pool, family)?;
        // A pool is made by the first ADD; cooling addresses are given out if no other is left.
        if usage.total > 0 && usage.free() + usage.cooling == 0 {
            return Ok(Some(format!("pool {pool}: no {family} address left: {usage}")));
        }
    }
    Ok(None)
}

fn domain(id: &AttachmentId) -> Domain {
    Domain::ipam(id.network())
}

/// The store of this boot, if there is one.
fn open(paths: &Paths) -> Result<Option<StateStore>, Cause> {
    match StateStore::open(&paths.lease_store(), &host::boot_id()?) {
        Ok(store) => Ok(Some(store)),
        Err(StoreError::Missing(_) | StoreError::OtherBoot { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn namespace(path: &Path) -> Option<NetnsId> {
    let netns = netns::open_netns(path).ok()?;
    netns::netns_identity(netns.as_fd()).ok().map(netns_id)
}
