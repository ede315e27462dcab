//! The objects that policies are made of and speak about.

mod block;
mod cluster;
mod labels;
mod pod;
mod policy;

pub use block::{Block, parse_address, parse_net};
pub use cluster::{Cluster, Event, Holder, Holders};
pub use labels::{Condition, Labels, Requirement, Selector};
pub use pod::{NamedPort, Node, Phase, Pod, numbers};
pub use policy::{Namespaces, NetworkPolicy, Peer, PolicyName, Port, Ports, Rule};

pub use crate::Protocol;
