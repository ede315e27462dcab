use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use naru_abi::{Addr, RouteKind, RouteValue, route_flags};

use super::{Inputs, NextHop, Remote};

/// The desired content of the map `ROUTES`. If two sources give an entry for the same prefix, the later one of this
/// list wins: no-masquerade prefixes, local blocks, remote blocks, remote nodes, local nodes.
pub fn entries(inputs: &Inputs<'_>) -> BTreeMap<IpNet, RouteValue> {
    let mut entries = BTreeMap::new();
    for prefix in &inputs.cluster.no_masquerade {
        entries.insert(*prefix, local(RouteKind::NoMasquerade));
    }
    entries.extend(inputs.own_prefixes().map(|prefix| (prefix, local(RouteKind::LocalBlock))));
    for remote in inputs.remotes() {
        let pods = |block: &IpNet| entry(remote, block.addr(), RouteKind::Tunnel, RouteKind::Direct);
        entries.extend(remote.node.blocks.iter().map(|block| (*block, pods(block))));
        let node = |host: IpNet| entry(remote, host.addr(), RouteKind::RemoteNode, RouteKind::DirectNode);
        entries.extend(hosts(&remote.node.addresses).map(|host| (host, node(host))));
    }
    entries.extend(hosts(inputs.own_addresses()).map(|host| (host, local(RouteKind::LocalNode))));
    entries
}

fn hosts(addresses: &[IpAddr]) -> impl Iterator<Item = IpNet> {
    addresses.iter().copied().map(IpNet::from)
}

/// The entry for an address of another node, or for pods behind that address: of kind `direct` if the next hop needs
/// no tunnel, else of kind `by_tunnel`.
fn entry(remote: Remote<'_>, address: IpAddr, by_tunnel: RouteKind, direct: RouteKind) -> RouteValue {
    let next_hop = remote.to(address);
    let kind = match next_hop {
        NextHop::Tunnel { .. } => by_tunnel,
        NextHop::Direct { .. } => direct,
    };
    let flags = if remote.takes_programs(next_hop) { 0 } else { route_flags::DEVICE_PATH };
    RouteValue { kind: kind as u32, mtu: next_hop.mtu(), node: Addr::from(remote.underlay), flags }
}

fn local(kind: RouteKind) -> RouteValue {
    RouteValue { kind: kind as u32, mtu: 0, node: Addr::UNSPECIFIED, flags: 0 }
}
