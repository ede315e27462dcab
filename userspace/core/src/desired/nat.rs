use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

use super::{Inputs, NextHop};

/// The packets that take the node's address when they leave.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Nat {
    /// Packets from these prefixes are masqueraded.
    pub sources: BTreeSet<IpNet>,
    /// Packets to these prefixes are not masqueraded.
    pub exempt: BTreeSet<IpNet>,
    /// UDP port of the tunnel, whose packets connection tracking must not see.
    pub tunnel_port: u16,
    /// Addresses of this node to which tunnel packets may be sent.
    pub addresses: Vec<IpAddr>,
}

pub fn nat(inputs: &Inputs<'_>) -> Nat {
    let cluster = inputs.cluster;
    let mut sources = BTreeSet::new();
    if let Some(own) = inputs.own().filter(|_| cluster.masquerade) {
        sources.extend(own.blocks.iter().copied());
    }
    sources.extend(inputs.masqueraded.iter().copied());
    let mut exempt: BTreeSet<IpNet> =
        cluster.ranges.iter().chain(&cluster.no_masquerade).chain(inputs.subnets).copied().collect();
    for remote in inputs.remotes() {
        // Packets to a node through the tunnel leave by a device on which nothing is masqueraded.
        let is_direct = |address: &&IpAddr| matches!(remote.to(**address), NextHop::Direct { .. });
        exempt.extend(remote.node.addresses.iter().filter(is_direct).copied().map(IpNet::from));
    }
    let own = inputs.own().map(|own| own.addresses.as_slice()).unwrap_or_default();
    let addresses = own.iter().copied().filter(|own| inputs.host_addresses.contains(own)).collect();
    Nat { sources, exempt, tunnel_port: cluster.tunnel.port, addresses }
}
