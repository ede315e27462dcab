use std::{net::IpAddr, os::fd::BorrowedFd};

use ipnet::IpNet;

use super::{Link, LinkError, Neighbour, NodeAddress};

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
pub fn pod_facts(netns: BorrowedFd<'_>, name: &str) -> Result<Option<PodFacts>, LinkError> {
    let _ = (netns, name);
    todo!()
}
