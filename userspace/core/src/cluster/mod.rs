//! The cluster as every node sees it: ranges, nodes, and the nodes' addresses and blocks. Plain values that were
//! checked before.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// UDP port of the tunnel unless the cluster file says otherwise.
pub const DEFAULT_TUNNEL_PORT: u16 = 8472;
/// VXLAN network identifier of the tunnel unless the cluster file says otherwise.
pub const DEFAULT_VNI: u32 = 5230;
/// Ports to choose from for the tunnel device where the tunnel's port is in use, unless the cluster file says
/// otherwise.
pub const DEFAULT_FALLBACK_PORTS: [u16; 3] = [18472, 28472, 38472];

/// A cluster whose parts agree with each other. `naru-cluster` makes it; only tests write one by hand.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClusterSpec {
    /// Every pod address of the cluster lies in one of these; they do not overlap.
    pub ranges: Vec<IpNet>,
    /// True if pods' packets that leave the cluster take the node's address.
    pub masquerade: bool,
    /// Destinations outside the cluster that are sent the pod's own address.
    pub no_masquerade: Vec<IpNet>,
    /// The routing mode of every node that does not set its own.
    #[serde(default)]
    pub routing: Routing,
    /// The encapsulation of every node that does not set its own.
    #[serde(default)]
    pub encapsulation: Encapsulation,
    /// The tunnel.
    pub tunnel: TunnelSpec,
    /// The nodes, by name in ascending order.
    pub nodes: Vec<NodeSpec>,
}

/// The cases in which a node sends its pods' packets to another node without the tunnel. Nodes need not agree: each
/// accepts both forms.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Routing {
    /// Packets to nodes on the same link go without the tunnel.
    #[default]
    Auto,
    /// All packets go through the tunnel.
    Tunnel,
    /// No packet goes through the tunnel: routers between the nodes must have routes to the nodes' blocks.
    Direct,
}

/// The part of the system that adds and removes the tunnel's headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encapsulation {
    /// The programs on the uplink, for all packets that the kernel and the packet allow; the vxlan device for the
    /// others.
    #[default]
    Auto,
    /// The vxlan device, for all packets.
    Device,
}

impl Routing {
    /// The spelling in the cluster file.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Tunnel => "tunnel",
            Self::Direct => "direct",
        }
    }
}

impl Encapsulation {
    /// The spelling in the cluster file.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Device => "device",
        }
    }
}

/// The tunnel that all nodes share.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TunnelSpec {
    /// UDP port of the outer packets.
    pub port: u16,
    /// Ports for the tunnel device of a node on which `port` is in use; the first free one is taken. On the wire
    /// every packet has `port`, so no other node needs to know.
    #[serde(default)]
    pub fallback_ports: Vec<u16>,
    /// VXLAN network identifier, 24 bits.
    pub vni: u32,
}

/// One node.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct NodeSpec {
    /// Unique name.
    pub name: String,
    /// The node's addresses, at least one; its tunnel ends at the first.
    pub addresses: Vec<IpAddr>,
    /// The blocks its pods take their addresses from; no two nodes' blocks overlap.
    pub blocks: Vec<IpNet>,
    /// The routing mode of this node, if it differs from the cluster's.
    #[serde(default)]
    pub routing: Option<Routing>,
    /// The encapsulation of packets to and from this node, if it differs from the cluster's.
    #[serde(default)]
    pub encapsulation: Option<Encapsulation>,
}

impl Default for TunnelSpec {
    fn default() -> Self {
        Self { port: DEFAULT_TUNNEL_PORT, fallback_ports: DEFAULT_FALLBACK_PORTS.to_vec(), vni: DEFAULT_VNI }
    }
}

impl Default for ClusterSpec {
    /// A cluster without nodes: a single machine that only serves its own subnets.
    fn default() -> Self {
        Self {
            ranges: Vec::new(),
            masquerade: true,
            no_masquerade: Vec::new(),
            routing: Routing::default(),
            encapsulation: Encapsulation::default(),
            tunnel: TunnelSpec::default(),
            nodes: Vec::new(),
        }
    }
}

impl ClusterSpec {
    /// The node of that name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&NodeSpec> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The routing mode of the node of that name.
    #[must_use]
    pub fn routing_of(&self, name: &str) -> Routing {
        self.node(name).and_then(|node| node.routing).unwrap_or(self.routing)
    }

    /// Returns true if any node may send without the tunnel.
    #[must_use]
    pub fn may_send_directly(&self) -> bool {
        self.nodes.iter().any(|node| self.routing_of(&node.name) != Routing::Tunnel)
    }

    /// The encapsulation of packets to and from the node of that name.
    #[must_use]
    pub fn encapsulation_of(&self, name: &str) -> Encapsulation {
        self.node(name).and_then(|node| node.encapsulation).unwrap_or(self.encapsulation)
    }

    /// Every node but the one of that name.
    pub fn remotes<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a NodeSpec> {
        self.nodes.iter().filter(move |node| node.name != name)
    }
}

impl NodeSpec {
    /// The address at which the node's tunnel ends: its first one.
    #[must_use]
    pub fn underlay(&self) -> Option<IpAddr> {
        self.addresses.first().copied()
    }
}
