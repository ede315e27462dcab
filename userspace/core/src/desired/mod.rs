//! The desired state of a node, computed from the cluster and a few facts, and the changes that lead to it.
//!
//! Start-up, a changed cluster and the periodic pass all end in the same [`diff`].

mod diff;
mod entries;
mod mtu;
mod nat;
mod next_hops;
mod routes;
mod rules;
mod state;

use std::net::IpAddr;

use ipnet::IpNet;

pub use diff::{Command, diff};
pub use mtu::{FALLBACK_MTU, IPV6_MIN_MTU, carried, overhead, path_mtu};
pub use nat::Nat;
pub use next_hops::{NextHop, NextHops, Path, Paths, Remote, Via};
pub use rules::{ForeignRules, Rule, Selector};
pub use state::{KernelHop, KernelRoute, MAIN_TABLE, NODE_TABLE, Rank, RouteKey, State};

use crate::cluster::{ClusterSpec, NodeSpec};

/// A local pod's address, as the map `PODS` has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pod {
    /// Its address.
    pub address: IpAddr,
    /// Index of the pod's veth on the node.
    pub ifindex: u32,
    /// MTU of its interface.
    pub mtu: u32,
}

/// All inputs of the desired state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inputs<'a> {
    /// The cluster; on a single machine it has no nodes.
    pub cluster: &'a ClusterSpec,
    /// This node's name.
    pub node: &'a str,
    /// Subnets of network configurations, in addition to the cluster's blocks.
    pub subnets: &'a [IpNet],
    /// Those of `subnets` whose packets take the machine's address when they leave the machine.
    pub masqueraded: &'a [IpNet],
    /// Networks that other IPAM plugins give pods addresses of.
    pub delegated: &'a [IpNet],
    /// The preference at which the rules of others begin.
    pub foreign_rules: ForeignRules,
    /// The addresses that this machine has now. They are the node's addresses if the cluster does not name the node.
    /// An address that the cluster gives to the node is used as a source only if it is among them.
    pub host_addresses: &'a [IpAddr],
    /// The paths to the other nodes' addresses.
    pub paths: &'a Paths,
    /// The local pods.
    pub pods: &'a [Pod],
}

impl Inputs<'_> {
    /// This node as the cluster names it.
    #[must_use]
    pub fn own(&self) -> Option<&NodeSpec> {
        self.cluster.node(self.node)
    }

    /// This node's addresses: those of the cluster, else the machine's.
    #[must_use]
    pub fn own_addresses(&self) -> &[IpAddr] {
        self.own().map_or(self.host_addresses, |own| &own.addresses)
    }

    /// Every prefix from which local pods take addresses.
    pub fn own_prefixes(&self) -> impl Iterator<Item = IpNet> {
        let blocks = self.own().map_or(&[][..], |own| &own.blocks);
        blocks.iter().chain(self.subnets).copied()
    }

    /// The source address of the node's own packets to addresses of the family of `towards`.
    fn source(&self, towards: IpAddr) -> Option<IpAddr> {
        let is_usable =
            |own: &IpAddr| own.is_ipv4() == towards.is_ipv4() && self.host_addresses.contains(own);
        self.own_addresses().iter().copied().find(is_usable)
    }

    /// The other nodes.
    fn remotes(&self) -> impl Iterator<Item = Remote<'_>> {
        NextHops { cluster: self.cluster, node: self.node, paths: self.paths }.remotes()
    }
}

/// The desired state of the node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Desired {
    /// Map entries, kernel routes and rules.
    pub state: State,
    /// Address translation.
    pub nat: Nat,
}

/// Computes the desired state of the node from `inputs`.
#[must_use]
pub fn desired(inputs: &Inputs<'_>) -> Desired {
    let state = State {
        entries: entries::entries(inputs),
        routes: routes::routes(inputs),
        rules: rules::rules(inputs),
    };
    Desired { state, nat: nat::nat(inputs) }
}
