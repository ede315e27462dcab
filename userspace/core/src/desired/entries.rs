use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use naru_abi::{Addr, RouteKind, RouteValue, route_flags};

use super::{Inputs, Remote, Way};

/// The map `ROUTES`. Where two say something of one prefix, the later kind of this list counts:
/// not masqueraded, local block, remote block, remote node, local node.
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

/// The entry of an address of another node, or of pods behind it: its kind is the tunnel's unless the way is direct.
fn entry(remote: Remote<'_>, address: IpAddr, by_tunnel: RouteKind, direct: RouteKind) -> RouteValue {
    let way = remote.to(address);
    let kind = match way {
        Way::Tunnel { .. } => by_tunnel,
        Way::Direct { .. } => direct,
    };
    let flags = if remote.takes_programs(way) { 0 } else { route_flags::DEVICE_PATH };
    RouteValue { kind: kind as u32, mtu: way.mtu(), node: Addr::from(remote.underlay), flags }
}

fn local(kind: RouteKind) -> RouteValue {
    RouteValue { kind: kind as u32, mtu: 0, node: Addr::UNSPECIFIED, flags: 0 }
}
