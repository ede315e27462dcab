use crate::machine::MARKS;
use naru_netlink::netns;
use std::{collections::BTreeSet, fmt, net::IpAddr, os::fd::BorrowedFd};

use ipnet::IpNet;
use naru_core::{
    ids::{AttachmentId, Generation, Label, host_ifname},
    ipam::{Domain, Row, State},
};
use naru_netlink::links::{self, Link, Mac, PodFacts, PodRouteFact, RouteTarget};

use super::{Attached, Cause, Tools, namespaces};

/// Properties that the caller expects of an attachment; other routes belong to others.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Expected {
    /// The pod's addresses; if empty, those of the store.
    pub addresses: Vec<IpAddr>,
    /// Destinations that must have a route in the pod.
    pub routes: Vec<IpNet>,
}

/// The first difference that was found.
#[derive(Debug)]
pub enum Difference {
    /// A property is missing or differs.
    Found(String),
    /// The state could not be read.
    Unknown(Cause),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found(what) => f.write_str(what),
            Self::Unknown(cause) => cause.fmt(f),
        }
    }
}

impl<E: Into<Cause>> From<E> for Difference {
    fn from(error: E) -> Self {
        Self::Unknown(error.into())
    }
}

/// A condition, with the message for its absence.
fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Difference> {
    if holds { Ok(()) } else { Err(Difference::Found(otherwise())) }
}

/// Compares store, namespace, host routes, map entries and filters of the attachment.
///
/// # Errors
/// The first difference.
pub fn check(
    tools: &Tools,
    id: &AttachmentId,
    netns: BorrowedFd<'_>,
    expected: &Expected,
) -> Result<Attached, Difference> {
    let netns_id = namespaces::id(netns::netns_identity(netns)?);
    let rows = tools.store.lease_of(&Domain::naru(), id)?;
    let held: Vec<&Row> = rows.iter().filter(|row| row.state == State::Assigned).collect();
    ensure(!held.is_empty(), || format!("store: {id} holds no address"))?;
    for row in &held {
        ensure(row.confirmed, || format!("store: {} was never wired", row.address))?;
        let same = row.netns.is_none_or(|known| known == netns_id);
        ensure(same, || format!("store: {} was attached in another network namespace", row.address))?;
    }
    let addresses: Vec<IpAddr> = held.iter().map(|row| row.address).collect();
    for ip in &expected.addresses {
        ensure(addresses.contains(ip), || format!("store: {id} does not hold {ip}"))?;
    }
    let expected = Expected { addresses, routes: expected.routes.clone() };
    let (attached, index) = find(tools, id, netns, &expected)?;
    led_here(tools, &attached, index)?;
    Ok(attached)
}

/// Returns true if the routes count: a rule of others may come before the table that they are in.
fn led_here(tools: &Tools, attached: &Attached, index: u32) -> Result<(), Difference> {
    for ip in &attached.addresses {
        let path = tools.links.path_to(*ip)?;
        ensure(path.index == index, || {
            let own = &attached.host_name;
            format!("the node's packets to {ip} leave by {}, not by {own}: see ip rule", path.device)
        })?;
    }
    Ok(())
}

/// Compares the kernel's side except the pod's routes. Returns the attachment as it stands, and the interface's index.
pub(super) fn find(
    tools: &Tools,
    id: &AttachmentId,
    netns: BorrowedFd<'_>,
    expected: &Expected,
) -> Result<(Attached, u32), Difference> {
    let (link, generation) = host_end(tools, id)?;
    let pod = pod_end(id, netns, &link, expected)?;
    host_routes(tools, &link, &expected.addresses)?;
    map_entries(tools, &link, generation, &expected.addresses)?;
    let filters = naru_bpf::pod_filters(&tools.maps.pins, &link.name)?;
    ensure(filters.is_complete(), || format!("{}: filters are missing", link.name))?;
    let attached = Attached {
        host_mac: mac_of(&link)?,
        pod_name: id.ifname().to_owned(),
        pod_mac: mac_of(&pod.link)?,
        mtu: pod.link.mtu,
        addresses: expected.addresses.clone(),
        routes: Vec::new(),
        host_name: link.name,
    };
    Ok((attached, link.index))
}

fn host_end(tools: &Tools, id: &AttachmentId) -> Result<(Link, Generation), Difference> {
    let name = host_ifname(id);
    let Some(link) = tools.links.link(&name)? else {
        return Err(Difference::Found(format!("{name}: not there")));
    };
    let label: Option<Label> = link.alias.parse().ok();
    match label.map(|label| label.alias).filter(|alias| alias.belongs_to(id)) {
        None => Err(Difference::Found(format!("{name}: not ours, its alias is \"{}\"", link.alias))),
        Some(_) if !link.up => Err(Difference::Found(format!("{name}: down"))),
        Some(alias) => Ok((link, alias.generation())),
    }
}

fn pod_end(
    id: &AttachmentId,
    netns: BorrowedFd<'_>,
    link: &Link,
    expected: &Expected,
) -> Result<PodFacts, Difference> {
    let name = id.ifname();
    let Some(pod) = links::pod_facts(netns, name, MARKS)? else {
        return Err(Difference::Found(format!("{name}: not in the container")));
    };
    ensure(pod.link.peer_index == Some(link.index), || {
        format!("{name}: not the other end of {}", link.name)
    })?;
    ensure(pod.link.up, || format!("{name}: down in the container"))?;
    // The gateway's neighbour entry is not compared: a change of the MAC flushes it, and `from_pod` answers for the
    // gateway.
    for ip in &expected.addresses {
        let there = pod.addresses.iter().any(|address| address.ip == *ip);
        ensure(there, || format!("{name}: address {ip} is missing in the container"))?;
    }
    for destination in &expected.routes {
        // A plugin that routes by source removes routes that its own default route replaces.
        let leads = |route: &PodRouteFact| {
            route.destination == *destination
                || (route.is_by_source && route.destination.contains(destination))
        };
        let there = pod.routes.iter().any(leads);
        ensure(there, || format!("{name}: route {destination} is missing in the container"))?;
    }
    Ok(pod)
}

fn host_routes(tools: &Tools, link: &Link, addresses: &[IpAddr]) -> Result<(), Difference> {
    let ours = RouteTarget::Device { index: link.index };
    let routed: BTreeSet<IpNet> = tools
        .links
        .routes()?
        .into_iter()
        .filter(|route| route.target == ours)
        .map(|route| route.destination)
        .collect();
    for ip in addresses {
        ensure(routed.contains(&IpNet::from(*ip)), || format!("route {ip} dev {}: missing", link.name))?;
    }
    Ok(())
}

fn map_entries(
    tools: &Tools,
    link: &Link,
    generation: Generation,
    addresses: &[IpAddr],
) -> Result<(), Difference> {
    let known = tools.maps.interfaces.get(link.index)?.is_some();
    ensure(known, || format!("map INTERFACES: {} is missing", link.name))?;
    for ip in addresses {
        let Some(entry) = tools.maps.pods.get(*ip)? else {
            return Err(Difference::Found(format!("map PODS: {ip} is missing")));
        };
        let index = entry.ifindex;
        ensure(index == link.index, || {
            format!("map PODS: {ip} leads to interface {index}, not {}", link.name)
        })?;
        let same = entry.generation == generation.0;
        ensure(same, || format!("map PODS: {ip} is of another assignment than {}", link.name))?;
    }
    Ok(())
}

fn mac_of(link: &Link) -> Result<Mac, Difference> {
    link.mac.ok_or_else(|| Difference::Found(format!("{}: no mac address", link.name)))
}
