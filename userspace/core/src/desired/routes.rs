use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use super::{Hop, Inputs, MAIN_TABLE, NODE_TABLE, Route, RouteKey, Way};

/// The kernel routes: pods, remote blocks, remote nodes for pods' forwarded packets, and "unreachable" for what
/// the cluster has but no pod or node holds.
pub fn routes(inputs: &Inputs<'_>) -> BTreeMap<RouteKey, Route> {
    let mut routes = BTreeMap::new();
    for prefix in inputs.own_prefixes().chain(inputs.cluster.ranges.iter().copied()) {
        let key = RouteKey { table: MAIN_TABLE, destination: prefix, unreachable: true };
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
            let route = Route { hop: Hop::Overlay, source: None, mtu: Some(remote.tunnel_mtu()) };
            routes.insert(to(NODE_TABLE, IpNet::from(*address)), route);
        }
    }
    for pod in inputs.pods {
        let hop = Hop::Pod { ifindex: pod.ifindex };
        let route = Route { hop, source: inputs.source(pod.address), mtu: Some(pod.mtu) };
        routes.insert(to(MAIN_TABLE, IpNet::from(pod.address)), route);
    }
    routes
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
    RouteKey { table, destination, unreachable: false }
}
