//! The paths of the matrix: who talks to whom, what it crosses, what must carry it.

use std::net::IpAddr;

use anyhow::Context;

use crate::lab::Lab;

/// From whom to whom.
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

    /// What the table calls it.
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

    /// Whether both ends are pods.
    #[must_use]
    pub const fn is_between_pods(self) -> bool {
        matches!(self, Self::PodToPod | Self::PodToRemotePod)
    }

    /// Whether it leaves the cluster.
    #[must_use]
    pub const fn is_outward(self) -> bool {
        matches!(self, Self::PodToOutside | Self::PodToListed)
    }

    /// Whether a pod is the client.
    #[must_use]
    pub fn is_from_pod(self) -> bool {
        self.ends().0.starts_with('p')
    }

    /// Routers on the way, in order.
    #[must_use]
    pub const fn routers(self) -> &'static [&'static str] {
        match self {
            Self::PodToRemotePod => &["n1", "n2"],
            Self::NodeToPod | Self::PodToNode => &[],
            Self::NodeToRemotePod => &["n2"],
            Self::PodToPod | Self::PodToRemoteNode | Self::PodToOutside | Self::PodToListed => &["n1"],
        }
    }

    /// Largest packet the path takes, bytes; `None` where nothing is below what the client's link takes.
    #[must_use]
    pub fn mtu(self, lab: &Lab) -> Option<u32> {
        match self {
            Self::PodToNode => None,
            _ if self.is_outward() => Some(lab.mtu),
            _ => Some(lab.mtu - overhead(lab)),
        }
    }

    /// The address that the server must see.
    ///
    /// # Errors
    /// The lab has no such host.
    pub fn visible_source(self, lab: &Lab, v6: bool) -> anyhow::Result<IpAddr> {
        let seen = if self == Self::PodToOutside { "n1" } else { self.ends().0 };
        Ok(lab.host(seen, v6)?.with_context(|| format!("{seen} has no such address"))?.address)
    }

    /// Outcomes that a stream over this path must be counted under.
    #[must_use]
    pub const fn carried_by(self) -> &'static [Decision] {
        const PEER: Decision = ("from_pod", "verdict", "peer");
        const TUNNEL: Decision = ("from_pod", "verdict", "tunnel");
        const ARRIVES: Decision = ("from_overlay", "verdict", "peer");
        const UP: Decision = ("from_overlay", "stack", "local-node");
        const ENCAPSULATED: Decision = ("to_overlay", "verdict", "tunnel");
        const DELIVERED: Decision = ("to_pod", "verdict", "deliver");
        match self {
            Self::PodToPod => &[PEER],
            Self::PodToRemotePod => &[TUNNEL, ARRIVES],
            Self::NodeToPod | Self::PodToNode => &[DELIVERED, ("from_pod", "stack", "local-node")],
            Self::NodeToRemotePod | Self::PodToRemoteNode => &[ENCAPSULATED, ARRIVES, TUNNEL, UP],
            Self::PodToOutside | Self::PodToListed => &[("from_pod", "stack", "outside"), DELIVERED],
        }
    }
}

/// Bytes that the tunnel adds: Ethernet, VXLAN, UDP and the outer IP header.
fn overhead(lab: &Lab) -> u32 {
    let v6 = lab.nodes.first().and_then(|node| node.addresses.first()).is_some_and(IpAddr::is_ipv6);
    if v6 { 70 } else { 50 }
}
