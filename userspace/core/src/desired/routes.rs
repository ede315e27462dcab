use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::{Hop, Inputs, MAIN_TABLE, NODE_TABLE, Route, RouteKey};

/// The kernel routes: pods, remote blocks, remote nodes for pods' forwarded packets, and "unreachable" for what
/// the cluster has but no pod or node holds.
pub fn routes(inputs: &Inputs<'_>) -> BTreeMap<RouteKey, Route> {
    let mut routes = BTreeMap::new();
    for prefix in inputs.own_prefixes().chain(inputs.cluster.ranges.iter().copied()) {
        let key = RouteKey { table: MAIN_TABLE, destination: prefix, unreachable: true };
        routes.insert(key, Route { hop: Hop::Unreachable, source: None, mtu: None });
    }
    for (node, _, mtu) in inputs.remotes() {
        for block in &node.blocks {
            let source = inputs.source(block.addr());
            routes.insert(to(MAIN_TABLE, *block), Route { hop: Hop::Overlay, source, mtu: Some(mtu) });
        }
        for address in &node.addresses {
            let route = Route { hop: Hop::Overlay, source: None, mtu: Some(mtu) };
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

/// Whose forwarded packets look remote nodes up in our table: the local pods', as soon as there is a remote node.
pub fn rules(inputs: &Inputs<'_>) -> BTreeSet<IpNet> {
    if inputs.remotes().next().is_none() {
        return BTreeSet::new();
    }
    inputs.own_prefixes().collect()
}

const fn to(table: u32, destination: IpNet) -> RouteKey {
    RouteKey { table, destination, unreachable: false }
}
