use std::{collections::BTreeMap, net::IpAddr};

use super::{FALLBACK_MTU, carried, path_mtu};
use crate::cluster::{ClusterSpec, Encapsulation, NodeSpec, Routing};

/// Where an interface sends what is for an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NextHop {
    /// To the address itself, which is on the interface's link.
    OnLink,
    /// To this router, which may be of the other family.
    Router(IpAddr),
    /// To whom nobody can tell: never taken for on-link.
    Unknown,
}

/// How the machine's own routes lead to an address of another node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path {
    /// The outgoing interface.
    pub device: u32,
    /// Where the interface sends.
    pub next: NextHop,
    /// MTU of the path in bytes.
    pub mtu: u32,
    /// Whether the interface is an Ethernet one, which is what programs send to.
    pub is_ethernet: bool,
}

/// The paths to other nodes' addresses; one that cannot be reached now has none.
pub type Paths = BTreeMap<IpAddr, Path>;

/// How pods' packets go to another node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Through the tunnel.
    Tunnel {
        /// The largest packet that fits, in bytes.
        mtu: u32,
    },
    /// As they are, by the underlay's own routing.
    Direct {
        /// The outgoing interface.
        device: u32,
        /// The next hop: the node itself, or the router before it.
        via: IpAddr,
        /// The largest packet that fits, in bytes.
        mtu: u32,
    },
}

impl Way {
    /// The largest packet that fits, in bytes.
    #[must_use]
    pub const fn mtu(self) -> u32 {
        match self {
            Self::Tunnel { mtu } | Self::Direct { mtu, .. } => mtu,
        }
    }
}

/// What decides the ways from this node to the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ways<'a> {
    /// The cluster.
    pub cluster: &'a ClusterSpec,
    /// This node's name.
    pub node: &'a str,
    /// The paths to the other nodes' addresses.
    pub paths: &'a Paths,
}

impl<'a> Ways<'a> {
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

    /// MTU of this node's pods: what fits every way, so that a pod seldom learns of a smaller one. As long as any node may
    /// use the tunnel, all keep to what fits that: ways change, and no pod must send more than the other receives. With
    /// IPv6 (`has_v6`) it is never less than that needs.
    ///
    /// Without remote nodes it is the uplink's, less the tunnel's share where the cluster names this node.
    #[must_use]
    pub fn pod_mtu(self, uplink_mtu: Option<u32>, has_v6: bool) -> u32 {
        let blocks = |remote: Remote<'a>| remote.node.blocks.iter().map(move |block| remote.to(block.addr()));
        let own = self.cluster.node(self.node).and_then(NodeSpec::underlay);
        let alone = own.map_or(uplink_mtu.unwrap_or(FALLBACK_MTU), |own| path_mtu(own, uplink_mtu));
        carried(self.remotes().flat_map(blocks).map(Way::mtu).min().unwrap_or(alone), has_v6)
    }
}

/// Another node, as this one reaches it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Remote<'a> {
    /// The node.
    pub node: &'a NodeSpec,
    /// Where its tunnel ends.
    pub underlay: IpAddr,
    paths: &'a Paths,
    routing: Routing,
    encapsulation: Encapsulation,
    /// Whether any node of the cluster may send through the tunnel.
    has_tunnel: bool,
}

impl Remote<'_> {
    /// The way to an address that is the node's own, or a pod's behind its first address of that family.
    #[must_use]
    pub fn to(&self, address: IpAddr) -> Way {
        let own = &self.node.addresses;
        let is_node = own.contains(&address);
        let end = own.iter().copied().find(|end| end.is_ipv4() == address.is_ipv4());
        let end = if is_node { Some(address) } else { end };
        self.direct(end, is_node).unwrap_or(Way::Tunnel { mtu: self.tunnel_mtu(address) })
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

    /// Whether programs may send packets that go this way to the uplink; else the stack and the tunnel device do.
    #[must_use]
    pub fn takes_programs(&self, way: Way) -> bool {
        let is_ethernet = self.paths.get(&self.underlay).is_none_or(|path| path.is_ethernet);
        let is_ours = match way {
            Way::Direct { .. } => true,
            // What the underlay carries in fragments, the tunnel device makes.
            Way::Tunnel { mtu } => self.encapsulation == Encapsulation::Auto && mtu <= self.whole_mtu(),
        };
        is_ethernet && is_ours
    }

    /// Whether the node may send without the tunnel what this one answers through it.
    #[must_use]
    pub fn may_send_around(&self, cluster: &ClusterSpec) -> bool {
        let is_on_link = |end: &IpAddr| self.paths.get(end).is_some_and(|path| path.next == NextHop::OnLink);
        let sends = match cluster.routing_of(&self.node.name) {
            Routing::Tunnel => false,
            Routing::Direct => true,
            Routing::Auto => self.node.addresses.iter().any(is_on_link),
        };
        sends && self.routing == Routing::Tunnel
    }

    /// The way to what is at, or behind, the node's address `end`, if it needs no tunnel.
    fn direct(&self, end: Option<IpAddr>, is_node: bool) -> Option<Way> {
        let end = end?;
        let Path { device, next, mtu, is_ethernet } = *self.paths.get(&end)?;
        let is_direct = match self.routing {
            // Tunnels of others (WireGuard) have their own idea of who may send from where.
            Routing::Auto => next == NextHop::OnLink && is_ethernet,
            Routing::Direct => true,
            Routing::Tunnel => false,
        };
        // The pods there have what fits the tunnel, unless nobody uses that; the node itself has its device's.
        let mtu = if self.has_tunnel && !is_node { mtu.min(self.tunnel_mtu(end)) } else { mtu };
        // A router of the other family does not lead a route of this one on every kernel.
        let via = match next {
            NextHop::OnLink => end,
            NextHop::Router(router) => router,
            NextHop::Unknown => return None,
        };
        (is_direct && via.is_ipv4() == end.is_ipv4()).then_some(Way::Direct { device, via, mtu })
    }
}
