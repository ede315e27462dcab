use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use super::{Inputs, KernelHop, KernelRoute, MAIN_TABLE, NODE_TABLE, NextHop, Rank, RouteKey};

/// The desired kernel routes: to local pods, to remote blocks, to remote nodes (for pods' forwarded packets), and
/// unreachable routes for ranges of the cluster that no pod and no node holds. Below each route that names a source is
/// a spare.
pub fn routes(inputs: &Inputs<'_>) -> BTreeMap<RouteKey, KernelRoute> {
    let mut routes = BTreeMap::new();
    for prefix in inputs.own_prefixes().chain(inputs.cluster.ranges.iter().copied()) {
        let key = RouteKey { table: MAIN_TABLE, destination: prefix, rank: Rank::Unreachable };
        routes.insert(key, KernelRoute { hop: KernelHop::Unreachable, source: None, mtu: None });
    }
    for remote in inputs.remotes() {
        for block in &remote.node.blocks {
            let next_hop = remote.to(block.addr());
            let (hop, source) = (KernelHop::from(next_hop), inputs.source(block.addr()));
            routes.insert(to(MAIN_TABLE, *block), KernelRoute { hop, source, mtu: Some(next_hop.mtu()) });
        }
        // Addresses that need no tunnel are reached by the main table, as for the node's own packets. Without pods of a
        // family nothing looks them up, and the tunnel device may be too narrow for IPv6.
        let is_looked_up = |address: &IpAddr| {
            let mut ranges = inputs.cluster.ranges.iter().copied().chain(inputs.own_prefixes());
            ranges.any(|range| range.addr().is_ipv4() == address.is_ipv4())
        };
        let tunnelled = |address: &&IpAddr| matches!(remote.to(**address), NextHop::Tunnel { .. });
        for address in remote.node.addresses.iter().filter(tunnelled).filter(|address| is_looked_up(address))
        {
            let mtu = Some(remote.tunnel_mtu(*address));
            let route = KernelRoute { hop: KernelHop::Overlay, source: None, mtu };
            routes.insert(to(NODE_TABLE, IpNet::from(*address)), route);
        }
    }
    for pod in inputs.pods {
        let hop = KernelHop::Pod { ifindex: pod.ifindex };
        let route = KernelRoute { hop, source: inputs.source(pod.address), mtu: Some(pod.mtu) };
        routes.insert(to(MAIN_TABLE, IpNet::from(pod.address)), route);
    }
    let spare = |(key, route): (&RouteKey, &KernelRoute)| {
        route.source.map(|_| (RouteKey { rank: Rank::Spare, ..*key }, KernelRoute { source: None, ..*route }))
    };
    let spares: Vec<_> = routes.iter().filter_map(spare).collect();
    routes.extend(spares);
    routes
}

impl From<NextHop> for KernelHop {
    fn from(next_hop: NextHop) -> Self {
        match next_hop {
            NextHop::Tunnel { .. } => Self::Overlay,
            NextHop::Direct { device, via, .. } => Self::Direct { ifindex: device, via },
        }
    }
}

const fn to(table: u32, destination: IpNet) -> RouteKey {
    RouteKey { table, destination, rank: Rank::First }
}
