//! The cluster as every node sees it: ranges, nodes, their addresses and blocks. Plain values, already checked.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// UDP port of the tunnel unless the cluster file says otherwise.
pub const DEFAULT_TUNNEL_PORT: u16 = 8472;
/// VXLAN network identifier of the tunnel unless the cluster file says otherwise.
pub const DEFAULT_VNI: u32 = 5230;
/// Ports of the tunnel device where that of the tunnel is taken, unless the cluster file says otherwise.
pub const DEFAULT_FALLBACK_PORTS: [u16; 3] = [18472, 28472, 38472];

/// A cluster whose parts agree with each other; made by `naru-cluster`, never by hand outside tests.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClusterSpec {
    /// Every pod address of the cluster lies in one of these; they do not overlap.
    pub ranges: Vec<IpNet>,
    /// Whether pods' packets that leave the cluster take the node's address.
    pub masquerade: bool,
    /// Destinations outside the cluster that see the pod's own address.
    pub no_masquerade: Vec<IpNet>,
    /// When pods' packets go to other nodes without the tunnel; a node may differ.
    #[serde(default)]
    pub routing: Routing,
    /// Who encapsulates what goes through the tunnel; a node may differ.
    #[serde(default)]
    pub encapsulation: Encapsulation,
    /// The tunnel.
    pub tunnel: TunnelSpec,
    /// The nodes, by name in ascending order.
    pub nodes: Vec<NodeSpec>,
}

/// When a node sends its pods' packets to another node as they are, without the tunnel. Nodes need not agree: each takes
/// what comes either way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Routing {
    /// To nodes on the same link.
    #[default]
    Auto,
    /// Never.
    Tunnel,
    /// To every node that is reached: routers on the way must know the nodes' blocks.
    Direct,
}

/// Who puts packets into the tunnel and takes them out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encapsulation {
    /// The programs on the uplink, as far as kernel and packet allow; else the vxlan device.
    #[default]
    Auto,
    /// The vxlan device alone.
    Device,
}

impl Routing {
    /// As the cluster file spells it.
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
    /// As the cluster file spells it.
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
    /// Ports of which a node whose `port` is somebody else's gives one to its tunnel device, in this order. On the wire
    /// every packet has `port`, so that no other node needs to know.
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
    /// Its addresses, at least one; the first is where its tunnel ends.
    pub addresses: Vec<IpAddr>,
    /// The blocks its pods take their addresses from; no two nodes' blocks overlap.
    pub blocks: Vec<IpNet>,
    /// How this node sends, where it differs from the cluster.
    #[serde(default)]
    pub routing: Option<Routing>,
    /// Who encapsulates packets to and from this node, where it differs from the cluster.
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

    /// How the node of that name sends.
    #[must_use]
    pub fn routing_of(&self, name: &str) -> Routing {
        self.node(name).and_then(|node| node.routing).unwrap_or(self.routing)
    }

    /// Whether any node may send without the tunnel.
    #[must_use]
    pub fn may_send_directly(&self) -> bool {
        self.nodes.iter().any(|node| self.routing_of(&node.name) != Routing::Tunnel)
    }

    /// Who encapsulates packets to and from the node of that name.
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
    /// Where the node's tunnel ends: its first address.
    #[must_use]
    pub fn underlay(&self) -> Option<IpAddr> {
        self.addresses.first().copied()
    }
}
