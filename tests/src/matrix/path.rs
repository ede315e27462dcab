//! The paths of the matrix: client and server, the devices between them, and the outcomes that must carry the
//! traffic.

use std::net::IpAddr;

use anyhow::Context;

use crate::lab::Lab;

/// A path from a client to a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Path {
    /// Between two pods of one node.
    PodToPod,
    /// Between pods of two nodes.
    PodToRemotePod,
    /// From a node to its pod, and back.
    NodeToPod,
    /// From a node to a pod of another, and back.
    NodeToRemotePod,
    /// From a pod to its node.
    PodToNode,
    /// From a pod to another node.
    PodToRemoteNode,
    /// From a pod beyond the cluster, with its node's address.
    PodToOutside,
    /// From a pod beyond the cluster, with its own address.
    PodToListed,
}

/// Hook, class and label of an outcome.
pub type Decision = (&'static str, &'static str, &'static str);

impl Path {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::PodToPod,
        Self::PodToRemotePod,
        Self::NodeToPod,
        Self::NodeToRemotePod,
        Self::PodToNode,
        Self::PodToRemoteNode,
        Self::PodToOutside,
        Self::PodToListed,
    ];

    /// The label in the table.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::PodToPod => "pod to pod, one node",
            Self::PodToRemotePod => "pod to pod, two nodes",
            Self::NodeToPod => "node to its pod",
            Self::NodeToRemotePod => "node to remote pod",
            Self::PodToNode => "pod to its node",
            Self::PodToRemoteNode => "pod to remote node",
            Self::PodToOutside => "pod to outside",
            Self::PodToListed => "pod to unmasqueraded",
        }
    }

    /// Client and server as [`Lab::host`] names them.
    #[must_use]
    pub const fn ends(self) -> (&'static str, &'static str) {
        match self {
            Self::PodToPod => ("p1-1", "p1-2"),
            Self::PodToRemotePod => ("p1-1", "p2-1"),
            Self::NodeToPod => ("n1", "p1-1"),
            Self::NodeToRemotePod => ("n1", "p2-1"),
            Self::PodToNode => ("p1-1", "n1"),
            Self::PodToRemoteNode => ("p1-1", "n2"),
            Self::PodToOutside => ("p1-1", "out"),
            Self::PodToListed => ("p1-1", "listed"),
        }
    }

    /// Returns true if both ends are pods.
    #[must_use]
    pub const fn is_between_pods(self) -> bool {
        matches!(self, Self::PodToPod | Self::PodToRemotePod)
    }

    /// Returns true if the path leaves the cluster.
    #[must_use]
    pub const fn is_outward(self) -> bool {
        matches!(self, Self::PodToOutside | Self::PodToListed)
    }

    /// Returns true if a pod is the client.
    #[must_use]
    pub fn is_from_pod(self) -> bool {
        self.ends().0.starts_with('p')
    }

    /// Routers on the path, in order.
    #[must_use]
    pub const fn routers(self) -> &'static [&'static str] {
        match self {
            Self::PodToRemotePod => &["n1", "n2"],
            Self::NodeToPod | Self::PodToNode => &[],
            Self::NodeToRemotePod => &["n2"],
            Self::PodToPod | Self::PodToRemoteNode | Self::PodToOutside | Self::PodToListed => &["n1"],
        }
    }

    /// Largest packet that the path takes, in bytes; `None` if no link takes less than the client's.
    #[must_use]
    pub fn mtu(self, lab: &Lab) -> Option<u32> {
        match self {
            Self::PodToNode => None,
            _ if self.is_outward() => Some(lab.mtu),
            // A node keeps to its device's MTU; all pods keep to the tunnel's, if any node may use the tunnel.
            Self::PodToRemoteNode if Mode::of(lab) == Mode::Direct => Some(lab.mtu),
            _ => Some(lab.mtu - overhead(lab)),
        }
    }

    /// MTUs that a pod's node reports, answer for answer, until a packet of that size arrives.
    #[must_use]
    pub fn told(self, lab: &Lab, v6: bool) -> Vec<u32> {
        // When the kernel forwards IPv6 it checks the device's MTU, whatever the route says; the route's MTU counts
        // when it sends.
        let is_direct = v6 && self == Self::PodToRemotePod && Mode::of(lab) == Mode::Direct;
        let mut told: Vec<u32> = is_direct.then_some(lab.mtu).into_iter().chain(self.mtu(lab)).collect();
        told.dedup();
        told
    }

    /// The address that the server must see.
    ///
    /// # Errors
    /// The lab has no such host.
    pub fn visible_source(self, lab: &Lab, v6: bool) -> anyhow::Result<IpAddr> {
        let seen = if self == Self::PodToOutside { "n1" } else { self.ends().0 };
        Ok(lab.host(seen, v6)?.with_context(|| format!("{seen} has no such address"))?.address)
    }

    /// Outcomes under which a stream over this path must be counted.
    #[must_use]
    pub const fn carried_by(self, mode: Mode) -> &'static [Decision] {
        const PEER: Decision = ("from_pod", "verdict", "peer");
        const DELIVERED: Decision = ("to_pod", "verdict", "deliver");
        match self {
            Self::PodToPod => &[PEER],
            Self::PodToRemotePod => mode.between_pods(),
            Self::NodeToPod | Self::PodToNode => &[DELIVERED, ("from_pod", "stack", "local-node")],
            Self::NodeToRemotePod | Self::PodToRemoteNode => mode.with_a_node(),
            Self::PodToOutside | Self::PodToListed => &[("from_pod", "stack", "outside"), DELIVERED],
        }
    }
}

/// The outcomes of `from_pod` for packets to other nodes, by mode.
const BY_DEVICE: Decision = ("from_pod", "verdict", "tunnel");
const BY_PROGRAM: Decision = ("from_pod", "verdict", "encapsulated");
const BY_ROUTE: Decision = ("from_pod", "verdict", "direct");

/// The mode in which packets go from node to node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// The tunnel device encapsulates and decapsulates.
    Device,
    /// The programs on the uplinks encapsulate and decapsulate.
    Own,
    /// Packets go without the tunnel.
    Direct,
}

impl Mode {
    /// The mode of the lab, whose nodes are all on one link.
    #[must_use]
    pub fn of(lab: &Lab) -> Self {
        match (lab.routing.as_str(), lab.encapsulation.as_str()) {
            ("auto" | "direct", _) => Self::Direct,
            (_, "device") => Self::Device,
            _ => Self::Own,
        }
    }

    const fn between_pods(self) -> &'static [Decision] {
        match self {
            Self::Device => &[BY_DEVICE, ("from_overlay", "verdict", "peer")],
            Self::Own => &[BY_PROGRAM, ("from_underlay", "verdict", "peer")],
            Self::Direct => &[BY_ROUTE, ("from_underlay", "verdict", "peer")],
        }
    }

    /// A node's own packets take the stack, and so the tunnel device, if there is a tunnel.
    const fn with_a_node(self) -> &'static [Decision] {
        const ENCAPSULATED: Decision = ("to_overlay", "verdict", "tunnel");
        const UP: Decision = ("from_overlay", "stack", "local-node");
        match self {
            Self::Device => &[ENCAPSULATED, BY_DEVICE, ("from_overlay", "verdict", "peer"), UP],
            Self::Own => &[ENCAPSULATED, BY_PROGRAM, UP],
            Self::Direct => &[BY_ROUTE, ("from_underlay", "verdict", "peer")],
        }
    }

    /// Outcomes that packets between pods of two nodes must not have: the stack, or the outcome of another mode.
    #[must_use]
    pub const fn not_between_pods(self) -> &'static [Decision] {
        const OUTSIDE: Decision = ("from_pod", "stack", "outside");
        const TOO_BIG: Decision = ("from_pod", "stack", "too-big");
        const BY_STACK: Decision = ("from_pod", "stack", "direct-by-stack");
        match self {
            Self::Device => &[OUTSIDE, TOO_BIG, BY_PROGRAM, BY_ROUTE, BY_STACK],
            Self::Own => &[OUTSIDE, TOO_BIG, BY_DEVICE, BY_ROUTE, BY_STACK],
            Self::Direct => &[OUTSIDE, TOO_BIG, BY_DEVICE, BY_PROGRAM, BY_STACK],
        }
    }
}

/// Bytes that the tunnel adds, if there is one: Ethernet, VXLAN, UDP and the outer IP header.
fn overhead(lab: &Lab) -> u32 {
    if lab.routing == "direct" {
        return 0;
    }
    let v6 = lab.nodes.first().and_then(|node| node.addresses.first()).is_some_and(IpAddr::is_ipv6);
    if v6 { 70 } else { 50 }
}
