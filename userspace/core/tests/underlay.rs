//! Dependence of a node's desired state on its underlay: next hops, small MTUs, permitted sources.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use naru_abi::route_flags;
use naru_core::{
    cluster::{ClusterSpec, NodeSpec, Routing},
    desired::{
        Inputs, KernelHop, KernelRoute, MAIN_TABLE, NextHops, Path, Paths, Pod, Rank, RouteKey, Via, desired,
    },
};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A dual-stack cluster of nodes with these numbers.
fn cluster(numbers: impl IntoIterator<Item = u8>) -> ClusterSpec {
    let node = |number: u8| NodeSpec {
        name: format!("node{number}"),
        addresses: vec![ip(&format!("198.51.100.{number}")), ip(&format!("2001:db8::{number}"))],
        blocks: vec![net(&format!("10.32.{number}.0/24")), net(&format!("fd10:32::{number}:0/112"))],
        ..NodeSpec::default()
    };
    let ranges = vec![net("10.32.0.0/12"), net("fd10:32::/48")];
    ClusterSpec { ranges, nodes: numbers.into_iter().map(node).collect(), ..ClusterSpec::default() }
}

/// Everything about node 1, which has its addresses.
fn inputs<'a>(cluster: &'a ClusterSpec, paths: &'a Paths, pods: &'a [Pod], own: &'a [IpAddr]) -> Inputs<'a> {
    Inputs {
        cluster,
        node: "node1",
        subnets: &[],
        masqueraded: &[],
        delegated: &[],
        foreign_rules: naru_core::desired::ForeignRules::default(),
        host_addresses: own,
        paths,
        pods,
    }
}

/// The paths to both addresses of node 2.
fn paths(mtu: u32, via: Via) -> Paths {
    let path = Path { device: 3, via, mtu, is_ethernet: true };
    BTreeMap::from([(ip("198.51.100.2"), path), (ip("2001:db8::2"), path)])
}

fn main_route(destination: &str) -> RouteKey {
    RouteKey { table: MAIN_TABLE, destination: net(destination), rank: Rank::First }
}

#[test]
fn a_route_that_names_a_source_has_a_spare_beneath_it_that_names_none() {
    let (cluster, paths) = (cluster([1, 2]), Paths::new());
    let pods = [Pod { address: ip("10.32.1.7"), ifindex: 9, mtu: 1400 }];
    let own = [ip("198.51.100.1"), ip("2001:db8::1")];
    let routes = desired(&inputs(&cluster, &paths, &pods, &own)).state.routes;
    for (key, route) in &routes {
        let spare = routes.get(&RouteKey { rank: Rank::Spare, ..*key });
        match key.rank {
            Rank::First if route.source.is_some() => {
                assert_eq!(spare, Some(&KernelRoute { source: None, ..*route }), "{}", key.destination);
            }
            Rank::First | Rank::Unreachable => assert_eq!(spare, None, "{}", key.destination),
            Rank::Spare => assert_eq!(route.source, None, "{}", key.destination),
        }
    }
    assert_eq!(routes.keys().filter(|key| key.rank == Rank::Spare).count(), 3, "two blocks and a pod");
}

/// MTU of the underlay, of an IPv4 and an IPv6 block in the tunnel, and of pods with and without IPv6; whether programs
/// encapsulate for the two blocks.
#[test]
fn below_ipv6_nothing_has_less_than_it_needs_and_fragments_are_the_devices() {
    for (underlay, v4, v6, with, without, programs) in [
        (1280, 1230, 1280, 1280, 1230, [true, false]),
        (1329, 1279, 1280, 1280, 1279, [true, false]),
        (1330, 1280, 1280, 1280, 1280, [true, true]),
        (1500, 1450, 1450, 1450, 1450, [true, true]),
    ] {
        let (cluster, paths) = (cluster([1, 2]), paths(underlay, Via::Router(ip("198.51.100.254"))));
        let state = desired(&inputs(&cluster, &paths, &[], &[])).state;
        let blocks = ["10.32.2.0/24", "fd10:32::2:0/112"];
        let entries = blocks.map(|block| state.entries[&net(block)]);
        assert_eq!(entries.map(|entry| entry.mtu), [v4, v6], "{underlay}");
        let routes = blocks.map(|block| state.routes[&main_route(block)].mtu);
        assert_eq!(routes, [Some(v4), Some(v6)], "{underlay}");
        let by_programs = entries.map(|entry| entry.flags & route_flags::KERNEL_ENCAPSULATION == 0);
        assert_eq!(by_programs, programs, "{underlay}");
        let next_hops = NextHops { cluster: &cluster, node: "node1", paths: &paths };
        assert_eq!([true, false].map(|v6| next_hops.pod_mtu(None, v6)), [with, without], "{underlay}");
    }
}

#[test]
fn a_next_hop_that_nobody_can_tell_is_not_on_link_and_leads_no_route() {
    for routing in [Routing::Auto, Routing::Direct] {
        for via in [Via::Unknown, Via::Router(ip("fe80::1"))] {
            let (cluster, paths) = (ClusterSpec { routing, ..cluster([1, 2]) }, paths(1500, via));
            let state = desired(&inputs(&cluster, &paths, &[], &[])).state;
            let hop = state.routes[&main_route("10.32.2.0/24")].hop;
            assert_eq!(hop, KernelHop::Overlay, "{routing:?} {via:?}");
        }
    }
}
