use std::{net::IpAddr, os::fd::BorrowedFd};

use ipnet::IpNet;

use netlink_packet_route::route::{RouteProtocol, RouteType};

use super::{
    Link, LinkError, Links, Neighbour, NodeAddress,
    pod::inside,
    route::{KernelRoute, MAIN},
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
}

/// What a pod's namespace shows of one interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PodFacts {
    /// The interface itself: MAC, MTU, up, peer.
    pub link: Link,
    /// Its addresses of global scope.
    pub addresses: Vec<NodeAddress>,
    /// Routes of the main table through it.
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

/// What the namespace shows of the link.
fn facts(links: &Links, link: Link) -> Result<PodFacts, LinkError> {
    let mut addresses = links.addresses()?;
    addresses.retain(|address| address.index == link.index && !is_link_local(address.ip));
    let routes = links.kernel_routes(RouteProtocol::Unspec)?;
    let ours = |route: &&KernelRoute| {
        route.table == MAIN && route.kind == RouteType::Unicast && route.devices.contains(&link.index)
    };
    let mut routes: Vec<PodRouteFact> = routes.iter().filter(ours).map(fact).collect();
    routes.sort_unstable();
    let neighbours = links.neighbours(link.index)?;
    Ok(PodFacts { link, addresses, routes, neighbours })
}

/// The route as facts tell it.
fn fact(route: &KernelRoute) -> PodRouteFact {
    PodRouteFact { destination: route.destination, gateway: route.gateway, mtu: route.mtu }
}

/// Whether the address is an IPv6 link-local one, which the kernel makes by itself.
fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}
