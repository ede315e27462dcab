use crate::machine::GATEWAYS;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use naru_core::desired::{KernelHop, KernelRoute, Pod, Rank, RouteKey, Rule, Selector, State};
use naru_netlink::links::{self, Links, RouteTarget};

use crate::machine::{DEVICE, MachineError};
use naru_bpf::{Pins, Pods, Routes};

/// The state that the node has.
pub(super) struct Actual {
    /// The part that mirrors the cluster, and the routes of the pods in the map.
    pub state: State,
    /// The pods in the map.
    pub pods: Vec<Pod>,
    /// Interface index of the tunnel device; `None` without one.
    pub overlay: Option<u32>,
}

/// Reads the actual state, and removes objects that hide it. The routes are read before the map of pods, so that the
/// route of a pod that is attached meanwhile does not look like one without a pod.
pub(super) fn read(links: &Links, pins: &Pins) -> Result<Actual, MachineError> {
    let routes = sole(links, links.routes()?)?;
    of(links, pins, &routes)
}

/// As [`read`], without changing anything.
pub(super) fn look(links: &Links, pins: &Pins) -> Result<Actual, MachineError> {
    of(links, pins, &links.routes()?)
}

fn of(links: &Links, pins: &Pins, routes: &[links::Route]) -> Result<Actual, MachineError> {
    // Another device of that name is not ours.
    let overlay = links.overlay(DEVICE)?.map(|(link, _)| link.index);
    let rules = links.rules()?.own.into_iter().map(core_rule).collect();
    let pods: Vec<Pod> = Pods::open(pins)?
        .entries()?
        .into_iter()
        .map(|(address, value)| Pod { address: address.into(), ifindex: value.ifindex, mtu: value.mtu })
        .collect();
    let held: BTreeSet<(IpAddr, KernelHop)> =
        pods.iter().map(|pod| (pod.address, KernelHop::Pod { ifindex: pod.ifindex })).collect();
    let is_held = |key: &RouteKey, route: &KernelRoute| held.contains(&(key.destination.addr(), route.hop));
    let routes = routes.iter().map(|route| core_route(route, overlay));
    let state = State {
        entries: entries(pins)?,
        // The reconciler, which looks twice, decides about routes that are not their pod's.
        routes: routes.filter(|(key, route)| !is_pods(route) || is_held(key, route)).collect(),
        rules,
    };
    Ok(Actual { state, pods, overlay })
}

/// Returns one route to each destination and its spare; for pods, one over each interface, because a second one over
/// another interface may show a second holder. A foreign route beside ours would be taken for ours, or keep ours from
/// being set: the kernel replaces only the first, and refuses to turn it into one that exists already.
fn sole(links: &Links, mut routes: Vec<links::Route>) -> Result<Vec<links::Route>, MachineError> {
    let mut seen = BTreeSet::new();
    let place = |route: &links::Route| {
        let is_one_of_two = !matches!(route.target, RouteTarget::Gateway { .. });
        (route.table, route.destination, route.is_spare(), is_one_of_two.then_some(route.target))
    };
    // By its destination alone the kernel would not find a route with another metric.
    let is_beside =
        |route: &links::Route| route.is_beside_ours() && !matches!(route.target, RouteTarget::Device { .. });
    let more: Vec<_> =
        routes.extract_if(.., |route| is_beside(route) || !seen.insert(place(route))).collect();
    if more.is_empty() {
        return Ok(routes);
    }
    links.delete_routes(&more)?;
    // Of two that differ only in source or MTU, either may stay.
    Ok(links.routes()?)
}

fn entries(pins: &Pins) -> Result<BTreeMap<IpNet, naru_abi::RouteValue>, MachineError> {
    let entries = Routes::open(pins)?.entries()?;
    Ok(entries.into_iter().filter_map(|(prefix, value)| Some((network(prefix)?, value))).collect())
}

/// Returns a key of `ROUTES` with the prefix length of its own family.
pub(crate) fn network(prefix: naru_abi::Prefix) -> Option<IpNet> {
    let (address, length) = prefix.parts();
    IpNet::new(address, length).ok()
}

fn is_pods(route: &KernelRoute) -> bool {
    matches!(route.hop, KernelHop::Pod { .. })
}

/// A kernel route in the terms of the desired state.
fn core_route(route: &links::Route, overlay: Option<u32>) -> (RouteKey, KernelRoute) {
    let hop = match route.target {
        RouteTarget::Unreachable => KernelHop::Unreachable,
        RouteTarget::Device { index } => KernelHop::Pod { ifindex: index },
        RouteTarget::Gateway { index, via } if Some(index) == overlay && is_ours(route.destination, via) => {
            KernelHop::Overlay
        }
        RouteTarget::Gateway { index, via } => KernelHop::Direct { ifindex: index, via },
    };
    let rank = match hop {
        KernelHop::Unreachable => Rank::Unreachable,
        _ if route.is_spare() => Rank::Spare,
        _ => Rank::First,
    };
    let key = RouteKey { table: route.table, destination: route.destination, rank };
    (key, KernelRoute { hop, source: route.source, mtu: route.mtu })
}

fn core_rule(rule: links::Rule) -> Rule {
    let selector = match rule.selector {
        links::Selector::From(prefix) => Selector::From(prefix),
        links::Selector::To(prefix) => Selector::To(prefix),
    };
    Rule { selector, table: rule.table, preference: rule.preference, suppress: rule.suppress }
}

fn is_ours(destination: IpNet, via: IpAddr) -> bool {
    via == GATEWAYS.of(destination.addr())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TUNNEL: Option<u32> = Some(7);

    fn hop(target: RouteTarget) -> (Rank, KernelHop) {
        let route = links::Route::new("10.32.1.0/24".parse().unwrap(), links::MAIN, target, None, None);
        assert_eq!(core_route(&route.spare(), TUNNEL).1.hop, core_route(&route, TUNNEL).1.hop);
        let (key, route) = core_route(&route, TUNNEL);
        (key.rank, route.hop)
    }

    #[test]
    fn only_our_gateway_on_our_tunnel_device_is_the_overlay() {
        let gateway = |index, via: &str| hop(RouteTarget::Gateway { index, via: via.parse().unwrap() });
        assert_eq!(gateway(7, "169.254.1.1"), (Rank::First, KernelHop::Overlay));
        let direct = |ifindex, via: &str| KernelHop::Direct { ifindex, via: via.parse().unwrap() };
        assert_eq!(gateway(8, "169.254.1.1"), (Rank::First, direct(8, "169.254.1.1")));
        assert_eq!(gateway(7, "169.254.1.2"), (Rank::First, direct(7, "169.254.1.2")));
    }

    #[test]
    fn an_unreachable_route_stands_beside_another_to_the_same_prefix() {
        assert_eq!(hop(RouteTarget::Unreachable), (Rank::Unreachable, KernelHop::Unreachable));
        assert_eq!(hop(RouteTarget::Device { index: 9 }), (Rank::First, KernelHop::Pod { ifindex: 9 }));
    }
}
