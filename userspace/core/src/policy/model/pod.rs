//! Pods and nodes, as far as policies tell them apart.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Labels, Protocol};

/// A pod.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pod {
    /// The UID, by which a pod is told from its namesakes before and after it.
    pub uid: String,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The labels.
    pub labels: Labels,
    /// The node, empty while none is chosen.
    pub node: String,
    /// The addresses of either family, as far as they are known; each family's come and go by themselves.
    pub addresses: Vec<IpAddr>,
    /// True if the pod uses its node's own network namespace.
    pub host_network: bool,
    /// The phase.
    pub phase: Phase,
    /// True once the pod is being deleted. It keeps its rights until its address is given up.
    pub terminating: bool,
    /// Named ports of its containers that run as long as the pod does: those of restartable init containers too.
    pub ports: Vec<NamedPort>,
    /// The order in which pods came to their addresses: of several pods that list one address, it belongs to the one
    /// with the largest number.
    pub claim: u64,
}

/// The phase of a pod.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Phase {
    /// Not all of its containers have run.
    #[default]
    Pending,
    /// Running.
    Running,
    /// Ended, and will not run again.
    Completed,
    /// The node has not reported about it.
    Unknown,
}

/// A named port of a container. A pod may have one name several times, for several protocols.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NamedPort {
    /// The name.
    pub name: Box<str>,
    /// The protocol.
    pub protocol: Protocol,
    /// The number.
    pub port: u16,
}

impl Pod {
    /// Returns true if the pod has a network namespace of its own, in which something may still run: only then rules
    /// select it, as a subject and as a peer.
    #[must_use]
    pub fn is_member(&self) -> bool {
        !self.host_network && self.phase != Phase::Completed
    }

    /// Returns true if the pod uses this address, which is its node's.
    #[must_use]
    pub fn lends_from_node(&self, address: IpAddr) -> bool {
        self.host_network && self.phase != Phase::Completed && self.addresses.contains(&address)
    }

    /// The numbers of the ports of that name and protocol, ascending.
    #[must_use]
    pub fn numbers(&self, name: &str, protocol: Protocol) -> Vec<u16> {
        numbers(&self.ports, name, protocol)
    }

    /// `namespace/name`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// The numbers of the ports of that name and protocol, ascending, each once.
#[must_use]
pub fn numbers(ports: &[NamedPort], name: &str, protocol: Protocol) -> Vec<u16> {
    let named = ports.iter().filter(|port| &*port.name == name && port.protocol == protocol);
    let mut numbers = named.map(|port| port.port).collect::<Vec<_>>();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// A node's addresses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Node {
    /// Its own addresses, of whatever type.
    pub addresses: Vec<IpAddr>,
    /// The blocks that its pods take their addresses from.
    pub blocks: Vec<IpNet>,
}
