use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use naru_abi::RouteValue;

use super::Rule;

/// The kernel's main routing table.
pub const MAIN_TABLE: u32 = 254;
/// The table in which pods' forwarded packets look up remote nodes.
pub const NODE_TABLE: u32 = 5230;

/// The rank of a route among those to one prefix. A later rank has a higher metric: it counts if the earlier are gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Rank {
    /// The route itself.
    First,
    /// The same route without a preferred source: the kernel removes the first route together with the address that
    /// it names.
    Spare,
    /// The route by which senders are told that nothing is there.
    Unreachable,
}

/// The key of a kernel route.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RouteKey {
    /// Routing table.
    pub table: u32,
    /// Destination.
    pub destination: IpNet,
    /// Its rank among the routes to that prefix.
    pub rank: Rank,
}

/// The content of a kernel route.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KernelRoute {
    /// The next hop's address.
    pub hop: KernelHop,
    /// Preferred source of the node's own packets.
    pub source: Option<IpAddr>,
    /// Path MTU in bytes.
    pub mtu: Option<u32>,
}

/// The next hop of a kernel route.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum KernelHop {
    /// A local pod.
    Pod {
        /// Index of the pod's veth on the node.
        ifindex: u32,
    },
    /// A pod of another node, through the tunnel device.
    Overlay,
    /// A router or node on the underlay.
    Direct {
        /// Index of the uplink.
        ifindex: u32,
        /// The next hop's address.
        via: IpAddr,
    },
    /// None: the sender gets an ICMP error.
    Unreachable,
}

/// The part of a node that mirrors the cluster. One type serves both the desired and the actual state.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// The map `ROUTES`.
    pub entries: BTreeMap<IpNet, RouteValue>,
    /// Kernel routes with naru's protocol number.
    pub routes: BTreeMap<RouteKey, KernelRoute>,
    /// Our policy rules.
    pub rules: BTreeSet<Rule>,
}
