use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use naru_abi::{Addr, Destination, RouteKind, RouteValue, Transport, route_flags};

use super::{Inputs, NextHop, Remote};

/// The desired content of the map `ROUTES`. If two sources give an entry for the same prefix, the later one of this
/// list wins: no-masquerade prefixes, own blocks, remote blocks, remote nodes, own nodes.
pub fn entries(inputs: &Inputs<'_>) -> BTreeMap<IpNet, RouteValue> {
    let mut entries = BTreeMap::new();
    for prefix in &inputs.cluster.no_masquerade {
        entries.insert(*prefix, RouteValue::local(Destination::NoMasquerade));
    }
    entries.extend(inputs.own_prefixes().map(|prefix| (prefix, RouteValue::local(Destination::OwnBlock))));
    for remote in inputs.remotes() {
        let pods = |block: &IpNet| entry(remote, block.addr(), Destination::Pods);
        entries.extend(remote.node.blocks.iter().map(|block| (*block, pods(block))));
        let node = |host: IpNet| entry(remote, host.addr(), Destination::Node);
        entries.extend(hosts(&remote.node.addresses).map(|host| (host, node(host))));
    }
    entries.extend(hosts(inputs.own_addresses()).map(|host| (host, RouteValue::local(Destination::OwnNode))));
    entries
}

fn hosts(addresses: &[IpAddr]) -> impl Iterator<Item = IpNet> {
    addresses.iter().copied().map(IpNet::from)
}

/// The entry for an address of another node, or for pods behind that address: its transport is the one that the next
/// hop needs.
fn entry(remote: Remote<'_>, address: IpAddr, destination: Destination) -> RouteValue {
    let next_hop = remote.to(address);
    let transport = match next_hop {
        NextHop::Tunnel { .. } => Transport::Tunnel,
        NextHop::Direct { .. } => Transport::Direct,
    };
    let flags = if remote.takes_programs(next_hop) { 0 } else { route_flags::KERNEL_ENCAPSULATION };
    let kind = RouteKind { destination, transport };
    RouteValue { flags, ..RouteValue::remote(kind, Addr::from(remote.underlay), next_hop.mtu()) }
}
