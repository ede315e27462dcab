//! NetworkPolicy (`networking.k8s.io/v1`).

use naru_abi::policy::Direction;

use super::{Block, Selector};
use crate::Protocol;

/// The name of a policy.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PolicyName {
    /// The namespace.
    pub namespace: String,
    /// The name in it.
    pub name: String,
}

impl std::fmt::Display for PolicyName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A policy, with its defaults filled in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NetworkPolicy {
    /// Its name.
    pub name: PolicyName,
    /// The pods of its namespace that it isolates.
    pub pods: Selector,
    /// Rules for ingress; `None` if the policy does not isolate its pods in this direction.
    pub ingress: Option<Vec<Rule>>,
    /// Rules for egress; `None` as for `ingress`.
    pub egress: Option<Vec<Rule>>,
}

impl NetworkPolicy {
    /// The rules of one direction; `None` if the policy does not isolate its pods in it.
    #[must_use]
    pub fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }
}

/// A rule: packets of these peers to these ports pass.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Rule {
    /// The peers, any of which may be the other end; everybody if there is none.
    pub peers: Vec<Peer>,
    /// The destination ports; every packet, of whatever protocol, if there is none.
    pub ports: Vec<Port>,
}

/// Peers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Peer {
    /// Pods with an own network namespace.
    Pods {
        /// Their namespaces.
        namespaces: Namespaces,
        /// Their labels.
        pods: Selector,
    },
    /// Addresses, whoever has them.
    Block(Block),
}

/// Namespaces.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Namespaces {
    /// The namespace of the policy.
    Own,
    /// All namespaces with such labels.
    Selected(Selector),
}

/// Destination ports of one protocol.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Port {
    /// The protocol.
    pub protocol: Protocol,
    /// The ports of it.
    pub ports: Ports,
}

/// Ports of a protocol.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Ports {
    /// All.
    All,
    /// From the first to the last; an empty range if the last is smaller.
    Range(u16, u16),
    /// The number that the pod which receives the packet gives this name.
    Named(Box<str>),
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let protocol = self.protocol.label();
        match &self.ports {
            Ports::All => f.write_str(protocol),
            Ports::Range(from, to) if from == to => write!(f, "{protocol} {from}"),
            Ports::Range(from, to) => write!(f, "{protocol} {from}-{to}"),
            Ports::Named(name) => write!(f, "{protocol} {name}"),
        }
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Block(block) => block.fmt(f),
            Self::Pods { namespaces: Namespaces::Own, pods } => write!(f, "pods {pods}"),
            Self::Pods { namespaces: Namespaces::Selected(namespaces), pods } => {
                write!(f, "pods {pods} of namespaces {namespaces}")
            }
        }
    }
}
