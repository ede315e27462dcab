use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

use super::{Hop, Inputs, MAIN_TABLE, NODE_TABLE, Rank, Route, RouteKey, Way};

/// The kernel routes: pods, remote blocks, remote nodes for pods' forwarded packets, and "unreachable" for what
/// the cluster has but no pod or node holds. Each that names a source has a spare beneath it.
pub fn routes(inputs: &Inputs<'_>) -> BTreeMap<RouteKey, Route> {
    let mut routes = BTreeMap::new();
    for prefix in inputs.own_prefixes().chain(inputs.cluster.ranges.iter().copied()) {
        let key = RouteKey { table: MAIN_TABLE, destination: prefix, rank: Rank::Unreachable };
        routes.insert(key, Route { hop: Hop::Unreachable, source: None, mtu: None });
    }
    for remote in inputs.remotes() {
        for block in &remote.node.blocks {
            let way = remote.to(block.addr());
            let (hop, source) = (Hop::from(way), inputs.source(block.addr()));
            routes.insert(to(MAIN_TABLE, *block), Route { hop, source, mtu: Some(way.mtu()) });
        }
        // What needs no tunnel finds its way by the main table, as the node's own packets do.
        let tunnelled = |address: &&IpAddr| matches!(remote.to(**address), Way::Tunnel { .. });
        for address in remote.node.addresses.iter().filter(tunnelled) {
            let route = Route { hop: Hop::Overlay, source: None, mtu: Some(remote.tunnel_mtu(*address)) };
            routes.insert(to(NODE_TABLE, IpNet::from(*address)), route);
        }
    }
    for pod in inputs.pods {
        let hop = Hop::Pod { ifindex: pod.ifindex };
        let route = Route { hop, source: inputs.source(pod.address), mtu: Some(pod.mtu) };
        routes.insert(to(MAIN_TABLE, IpNet::from(pod.address)), route);
    }
    let spare = |(key, route): (&RouteKey, &Route)| {
        route.source.map(|_| (RouteKey { rank: Rank::Spare, ..*key }, Route { source: None, ..*route }))
    };
    let spares: Vec<_> = routes.iter().filter_map(spare).collect();
    routes.extend(spares);
    routes
}

/// Whose forwarded packets look remote nodes up in our table: the local pods', as soon as there is a remote node.
pub fn rules(inputs: &Inputs<'_>) -> BTreeSet<IpNet> {
    if inputs.remotes().next().is_none() {
        return BTreeSet::new();
    }
    inputs.own_prefixes().collect()
}

impl From<Way> for Hop {
    fn from(way: Way) -> Self {
        match way {
            Way::Tunnel { .. } => Self::Overlay,
            Way::Direct { device, via, .. } => Self::Direct { ifindex: device, via },
        }
    }
}

const fn to(table: u32, destination: IpNet) -> RouteKey {
    RouteKey { table, destination, rank: Rank::First }
}
