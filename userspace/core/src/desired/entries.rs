use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use naru_abi::{Addr, RouteKind, RouteValue};

use super::Inputs;

/// The map `ROUTES`. Where two say something of one prefix, the later kind of this list counts:
/// not masqueraded, local block, remote block, remote node, local node.
pub fn entries(inputs: &Inputs<'_>) -> BTreeMap<IpNet, RouteValue> {
    let mut entries = BTreeMap::new();
    for prefix in &inputs.cluster.no_masquerade {
        entries.insert(*prefix, local(RouteKind::NoMasquerade));
    }
    entries.extend(inputs.own_prefixes().map(|prefix| (prefix, local(RouteKind::LocalBlock))));
    for (node, underlay, mtu) in inputs.remotes() {
        let value = |kind| RouteValue { kind: kind as u32, mtu, node: Addr::from(underlay), flags: 0 };
        entries.extend(node.blocks.iter().map(|block| (*block, value(RouteKind::Tunnel))));
        entries.extend(hosts(&node.addresses).map(|host| (host, value(RouteKind::RemoteNode))));
    }
    entries.extend(hosts(inputs.own_addresses()).map(|host| (host, local(RouteKind::LocalNode))));
    entries
}

fn hosts(addresses: &[IpAddr]) -> impl Iterator<Item = IpNet> {
    addresses.iter().copied().map(IpNet::from)
}

fn local(kind: RouteKind) -> RouteValue {
    RouteValue { kind: kind as u32, mtu: 0, node: Addr::UNSPECIFIED, flags: 0 }
}
