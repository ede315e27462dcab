use std::{collections::BTreeMap, net::IpAddr};

use super::{FALLBACK_MTU, carried, path_mtu};
use crate::cluster::{ClusterSpec, Encapsulation, NodeSpec, Routing};

/// The node to which an interface sends what is for an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Via {
    /// The address itself, which is on the interface's link.
    Link,
    /// This router, which may be of the other family.
    Router(IpAddr),
    /// Not known: never taken for on-link.
    Unknown,
}

/// The path by which the machine's own routes reach an address of another node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path {
    /// The outgoing interface.
    pub device: u32,
    /// The node to which the interface sends.
    pub via: Via,
    /// MTU of the path in bytes.
    pub mtu: u32,
    /// True if the interface is an Ethernet one; programs send to no others.
    pub is_ethernet: bool,
}

/// The paths to other nodes' addresses; an address that is unreachable now has none.
pub type Paths = BTreeMap<IpAddr, Path>;

/// The next hop of pods' packets to another node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NextHop {
    /// The tunnel.
    Tunnel {
        /// The largest packet that fits, in bytes.
        mtu: u32,
    },
    /// A node or router of the underlay: packets go without the tunnel.
    Direct {
        /// The outgoing interface.
        device: u32,
        /// The next hop: the node itself, or the router before it.
        via: IpAddr,
        /// The largest packet that fits, in bytes.
        mtu: u32,
    },
}

impl NextHop {
    /// The largest packet that fits, in bytes.
    #[must_use]
    pub const fn mtu(self) -> u32 {
        match self {
            Self::Tunnel { mtu } | Self::Direct { mtu, .. } => mtu,
        }
    }
}

/// The inputs that decide the next hops from this node to the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NextHops<'a> {
    /// The cluster.
    pub cluster: &'a ClusterSpec,
    /// This node's name.
    pub node: &'a str,
    /// The paths to the other nodes' addresses.
    pub paths: &'a Paths,
}

impl<'a> NextHops<'a> {
    /// The other nodes.
    pub fn remotes(self) -> impl Iterator<Item = Remote<'a>> {
        let routing = self.cluster.routing_of(self.node);
        let has_tunnel =
            self.cluster.nodes.iter().any(|node| self.cluster.routing_of(&node.name) != Routing::Direct);
        self.cluster.remotes(self.node).filter_map(move |node| {
            let encapsulation = self.cluster.encapsulation_of(&node.name);
            Some(Remote {
                node,
                underlay: node.underlay()?,
                paths: self.paths,
                routing,
                encapsulation,
                has_tunnel,
            })
        })
    }

    /// MTU of this node's pods: the smallest of all next hops, so that a pod seldom learns of a smaller one. As long
    /// as any node may use the tunnel, pods of all nodes keep to the tunnel's MTU: next hops change, and no pod may
    /// send more than another pod's interface takes. With IPv6 (`has_v6`) it is never below IPv6's minimum.
    ///
    /// Without remote nodes it is the uplink's MTU, less the tunnel's headers if the cluster names this node.
    #[must_use]
    pub fn pod_mtu(self, uplink_mtu: Option<u32>, has_v6: bool) -> u32 {
        let blocks = |remote: Remote<'a>| remote.node.blocks.iter().map(move |block| remote.to(block.addr()));
        let own = self.cluster.node(self.node).and_then(NodeSpec::underlay);
        let alone = own.map_or(uplink_mtu.unwrap_or(FALLBACK_MTU), |own| path_mtu(own, uplink_mtu));
        carried(self.remotes().flat_map(blocks).map(NextHop::mtu).min().unwrap_or(alone), has_v6)
    }
}

/// Another node, as this node reaches it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Remote<'a> {
    /// The node.
    pub node: &'a NodeSpec,
    /// The address at which the node's tunnel ends.
    pub underlay: IpAddr,
    paths: &'a Paths,
    routing: Routing,
    encapsulation: Encapsulation,
    /// True if any node of the cluster may send through the tunnel.
    has_tunnel: bool,
}

impl Remote<'_> {
    /// The next hop for an address that is the node's own, or that belongs to a pod behind the node's first address
    /// of that family.
    #[must_use]
    pub fn to(&self, address: IpAddr) -> NextHop {
        let own = &self.node.addresses;
        let is_node = own.contains(&address);
        let end = own.iter().copied().find(|end| end.is_ipv4() == address.is_ipv4());
        let end = if is_node { Some(address) } else { end };
        self.direct(end, is_node).unwrap_or(NextHop::Tunnel { mtu: self.tunnel_mtu(address) })
    }

    /// The largest packet to `address` that the tunnel carries, in bytes.
    #[must_use]
    pub fn tunnel_mtu(&self, address: IpAddr) -> u32 {
        carried(self.whole_mtu(), address.is_ipv6())
    }

    /// The largest packet that fits into the tunnel without fragments of the underlay, in bytes.
    #[must_use]
    pub fn whole_mtu(&self) -> u32 {
        path_mtu(self.underlay, self.paths.get(&self.underlay).map(|path| path.mtu))
    }

    /// Returns true if programs may send packets with this next hop to the uplink; else the stack and the tunnel
    /// device send them.
    #[must_use]
    pub fn takes_programs(&self, next_hop: NextHop) -> bool {
        let is_ethernet = self.paths.get(&self.underlay).is_none_or(|path| path.is_ethernet);
        let is_ours = match next_hop {
            NextHop::Direct { .. } => true,
            // Packets that the underlay carries in fragments are left to the tunnel device.
            NextHop::Tunnel { mtu } => self.encapsulation == Encapsulation::Auto && mtu <= self.whole_mtu(),
        };
        is_ethernet && is_ours
    }

    /// Returns true if that node may answer without the tunnel what this node sends through it.
    #[must_use]
    pub fn may_send_around(&self, cluster: &ClusterSpec) -> bool {
        let is_on_link = |end: &IpAddr| self.paths.get(end).is_some_and(|path| path.via == Via::Link);
        let sends = match cluster.routing_of(&self.node.name) {
            Routing::Tunnel => false,
            Routing::Direct => true,
            Routing::Auto => self.node.addresses.iter().any(is_on_link),
        };
        sends && self.routing == Routing::Tunnel
    }

    /// The next hop for the node's address `end`, and for pods behind it, if it needs no tunnel.
    fn direct(&self, end: Option<IpAddr>, is_node: bool) -> Option<NextHop> {
        let end = end?;
        let Path { device, via, mtu, is_ethernet } = *self.paths.get(&end)?;
        let is_direct = match self.routing {
            // Other tunnels (WireGuard) check the sources of packets by rules of their own.
            Routing::Auto => via == Via::Link && is_ethernet,
            Routing::Direct => true,
            Routing::Tunnel => false,
        };
        // Pods there keep to the tunnel's MTU, unless no node uses the tunnel; the node itself has its device's MTU.
        let mtu = if self.has_tunnel && !is_node { mtu.min(self.tunnel_mtu(end)) } else { mtu };
        // Not every kernel accepts a route of one family by a router of the other.
        let via = match via {
            Via::Link => end,
            Via::Router(router) => router,
            Via::Unknown => return None,
        };
        (is_direct && via.is_ipv4() == end.is_ipv4()).then_some(NextHop::Direct { device, via, mtu })
    }
}
