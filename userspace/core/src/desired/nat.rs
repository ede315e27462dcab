use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

use super::{Inputs, Way};

/// Which packets take the node's address on their way out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Nat {
    /// Packets from here leave masqueraded.
    pub sources: BTreeSet<IpNet>,
    /// Unless they go here.
    pub exempt: BTreeSet<IpNet>,
    /// UDP port of the tunnel, whose packets are no business of connection tracking.
    pub tunnel_port: u16,
    /// Addresses of this node at which tunnel packets may arrive.
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
        // What goes to a node by the tunnel leaves by a device that is never masqueraded on.
        let is_direct = |address: &&IpAddr| matches!(remote.to(**address), Way::Direct { .. });
        exempt.extend(remote.node.addresses.iter().filter(is_direct).copied().map(IpNet::from));
    }
    let own = inputs.own().map(|own| own.addresses.as_slice()).unwrap_or_default();
    let addresses = own.iter().copied().filter(|own| inputs.host_addresses.contains(own)).collect();
    Nat { sources, exempt, tunnel_port: cluster.tunnel.port, addresses }
}
