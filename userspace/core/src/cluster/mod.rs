//! The cluster as every node sees it: ranges, nodes, their addresses and blocks. Plain values, already checked.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// UDP port of the tunnel unless the cluster file says otherwise.
pub const DEFAULT_TUNNEL_PORT: u16 = 8472;
/// VXLAN network identifier of the tunnel unless the cluster file says otherwise.
pub const DEFAULT_VNI: u32 = 5230;

/// A cluster whose parts agree with each other; made by `naru-cluster`, never by hand outside tests.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClusterSpec {
    /// Every pod address of the cluster lies in one of these; they do not overlap.
    pub ranges: Vec<IpNet>,
    /// Whether pods' packets that leave the cluster take the node's address.
    pub masquerade: bool,
    /// Destinations outside the cluster that see the pod's own address.
    pub no_masquerade: Vec<IpNet>,
    /// How nodes reach each other's pods.
    pub tunnel: TunnelSpec,
    /// The nodes, by name in ascending order.
    pub nodes: Vec<NodeSpec>,
}

/// The tunnel that all nodes share.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TunnelSpec {
    /// UDP port of the outer packets.
    pub port: u16,
    /// VXLAN network identifier, 24 bits.
    pub vni: u32,
}

/// One node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeSpec {
    /// Unique name.
    pub name: String,
    /// Its addresses, at least one; the first is where its tunnel ends.
    pub addresses: Vec<IpAddr>,
    /// The blocks its pods take their addresses from; no two nodes' blocks overlap.
    pub blocks: Vec<IpNet>,
}

impl Default for TunnelSpec {
    fn default() -> Self {
        Self { port: DEFAULT_TUNNEL_PORT, vni: DEFAULT_VNI }
    }
}

impl Default for ClusterSpec {
    /// A cluster without nodes: a single machine that only serves its own subnets.
    fn default() -> Self {
        Self {
            ranges: Vec::new(),
            masquerade: true,
            no_masquerade: Vec::new(),
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
