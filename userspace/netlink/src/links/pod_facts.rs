use std::{net::IpAddr, os::fd::BorrowedFd};

use ipnet::IpNet;

use super::{
    Link, LinkError, Links, Neighbour, NodeAddress,
    listed_route::ListedRoute,
    pod::inside,
    pod_sources::{is_link_local, table_of},
    route::MAIN,
};
use crate::Marks;

/// A route as a pod's namespace shows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PodRouteFact {
    /// Destination.
    pub destination: IpNet,
    /// Next hop, `None` for a route on the link.
    pub gateway: Option<IpAddr>,
    /// MTU of the route in bytes.
    pub mtu: Option<u32>,
    /// True if the route is in a table of another plugin (sbr) that is looked up for packets from the interface's
    /// addresses.
    pub is_by_source: bool,
}

/// The state of one interface in a pod's namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PodFacts {
    /// The interface itself: MAC, MTU, up, peer.
    pub link: Link,
    /// Its addresses of global scope.
    pub addresses: Vec<NodeAddress>,
    /// Routes through it, of all tables.
    pub routes: Vec<PodRouteFact>,
    /// Its permanent neighbours.
    pub neighbours: Vec<Neighbour>,
}

/// Looks at the interface `name` inside the namespace; `None` when it is not there.
///
/// # Errors
/// The namespace cannot be entered or the kernel refuses.
pub fn pod_facts(netns: BorrowedFd<'_>, name: &str, marks: Marks) -> Result<Option<PodFacts>, LinkError> {
    inside(netns, marks, |links| match links.link(name)? {
        Some(link) => facts(links, link).map(Some),
        None => Ok(None),
    })
}

/// Returns just the interface `name` inside the namespace; `None` if it does not exist.
///
/// # Errors
/// As [`pod_facts`].
pub fn pod_link(netns: BorrowedFd<'_>, name: &str, marks: Marks) -> Result<Option<Link>, LinkError> {
    inside(netns, marks, |links| links.link(name))
}

/// The state of the link in the namespace.
fn facts(links: &Links, link: Link) -> Result<PodFacts, LinkError> {
    let mut addresses = links.addresses()?;
    addresses.retain(|address| address.index == link.index && !is_link_local(address.ip));
    // Routes of any table: another plugin (sbr) may have moved them to one of its own.
    let own = |route: &ListedRoute| {
        route.kind == libc::RTN_UNICAST
            && route.table != table_of(link.index)
            && route.devices().any(|index| index == link.index)
    };
    let mut routes = links.listed(None, None, |route| own(&route).then(|| fact(&route)))?;
    routes.sort_unstable();
    let neighbours = links.neighbours(link.index)?;
    Ok(PodFacts { link, addresses, routes, neighbours })
}

/// The route as facts tell it.
fn fact(route: &ListedRoute) -> PodRouteFact {
    PodRouteFact {
        destination: route.destination,
        gateway: route.gateway(),
        mtu: route.mtu,
        is_by_source: route.table != MAIN,
    }
}
