use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use naru_abi::RouteValue;

/// The kernel's main routing table.
pub const MAIN_TABLE: u32 = 254;
/// The table that pods' forwarded packets look remote nodes up in.
pub const NODE_TABLE: u32 = 5230;

/// Which of the routes to one prefix; a later one has a higher metric, and counts where the earlier ones are gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Rank {
    /// The one that leads there.
    First,
    /// The same without a preferred source: the kernel takes the first away together with the address that it names.
    Spare,
    /// The one that tells senders that nothing is there.
    Unreachable,
}

/// Which kernel route.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RouteKey {
    /// Routing table.
    pub table: u32,
    /// Destination.
    pub destination: IpNet,
    /// Which of those to that prefix.
    pub rank: Rank,
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
    /// Source prefixes of our policy rules, which look up [`NODE_TABLE`].
    pub rules: BTreeSet<IpNet>,
}
