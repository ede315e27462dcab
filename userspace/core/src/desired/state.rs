use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use naru_abi::RouteValue;

use super::Rule;

/// The kernel's main routing table.
pub const MAIN_TABLE: u32 = 254;
/// The table that pods' forwarded packets look remote nodes up in.
pub const NODE_TABLE: u32 = 5230;

/// Which kernel route. An unreachable route does not replace another one to the same prefix: its metric is higher.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RouteKey {
    /// Routing table.
    pub table: u32,
    /// Destination.
    pub destination: IpNet,
    /// Whether it is the unreachable route of that prefix.
    pub unreachable: bool,
}

/// What a kernel route says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Route {
    /// Where it leads.
    pub hop: Hop,
    /// Preferred source of the node's own packets.
    pub source: Option<IpAddr>,
    /// Path MTU in bytes.
    pub mtu: Option<u32>,
}

/// Where a kernel route leads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Hop {
    /// To a local pod.
    Pod {
        /// Its veth on the node.
        ifindex: u32,
    },
    /// Through the overlay device.
    Overlay,
    /// To a next hop of the underlay.
    Direct {
        /// The uplink.
        ifindex: u32,
        /// The next hop.
        via: IpAddr,
    },
    /// Nowhere: the sender is told.
    Unreachable,
}

/// What of a node mirrors the cluster: the same type for what should be and for what is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// The map `ROUTES`.
    pub entries: BTreeMap<IpNet, RouteValue>,
    /// Kernel routes of our protocol.
    pub routes: BTreeMap<RouteKey, Route>,
    /// Our policy rules.
    pub rules: BTreeSet<Rule>,
}
