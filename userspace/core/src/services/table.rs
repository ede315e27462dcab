//! The compiled table: what a node's datapath does with packets to addresses of Services.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::Protocol;

/// A Service's name, which no two Services of a moment share.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct ServiceName {
    /// The namespace.
    pub namespace: String,
    /// The name in it.
    pub name: String,
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Destination that clients send to: one port and protocol of one address of a Service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Frontend {
    /// The Service's address of one family.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// One address and port behind a Service; no frontend has one twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Backend {
    /// An address of the frontend's family: of a pod, of a node, or outside the cluster.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

/// Treatment of packets to a frontend.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Translation {
    /// The Service.
    pub service: ServiceName,
    /// The name of its port; empty where it has only one.
    pub port_name: String,
    /// Backends of new flows, in ascending order, each with the same share of them. None if and only if `stack` is a
    /// reason.
    pub chosen: Vec<Backend>,
    /// Backends that get no new flows and still serve those that they have, in ascending order. A backend in neither
    /// list is gone: flows of protocols without connections leave it at once.
    pub kept: Vec<Backend>,
    /// Seconds for which the flows of one client address go to one backend, counted from the newest flow; `None`: each
    /// flow is chosen for by itself.
    pub affinity: Option<u32>,
    /// The reason for which new flows take the stack.
    pub stack: Option<Reason>,
}

/// The reasons for which a Service, or one of its frontends, is left to the stack.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Nothing behind it can answer: the stack refuses.
    NoEndpoints,
    /// It asks for backends of this node, and there are none: the stack drops.
    NoLocalEndpoints,
    /// The address is one of this node's own: whoever bound it answers.
    OwnAddress,
    /// Another Service has the same address, port and protocol.
    Disputed(ServiceName),
    /// An administrator leaves all Services to the stack.
    SwitchedOff,
    /// It has no address, by its own wish.
    Headless,
    /// It has no address yet.
    NoAddress,
    /// It is a name of a host elsewhere.
    ExternalName,
    /// Its label names another proxy.
    OtherProxy(String),
    /// It has no ports.
    NoPorts,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEndpoints => f.write_str("no endpoints"),
            Self::NoLocalEndpoints => f.write_str("internalTrafficPolicy is Local, no endpoint on this node"),
            Self::OwnAddress => f.write_str("the address is one of this node's own"),
            Self::Disputed(other) => write!(f, "Service {other} has the same address and port"),
            Self::SwitchedOff => f.write_str("services = \"stack\""),
            Self::Headless => f.write_str("headless"),
            Self::NoAddress => f.write_str("no cluster address"),
            Self::ExternalName => f.write_str("external name"),
            Self::OtherProxy(name) => write!(f, "service-proxy-name is {name}"),
            Self::NoPorts => f.write_str("no ports"),
        }
    }
}

/// All that a node knows about Services.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Table {
    /// Every frontend of every Service that has some, translated or left to the stack.
    pub frontends: BTreeMap<Frontend, Translation>,
    /// Services without any frontend, each with the reason.
    pub left: BTreeMap<ServiceName, Reason>,
}
