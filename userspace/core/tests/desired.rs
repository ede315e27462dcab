//! The desired state of a node, and the changes that lead to it, by example and by property.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use naru_abi::{Addr, Destination, RouteKind, RouteValue, Transport, route_flags};
use naru_core::{
    cluster::{ClusterSpec, Encapsulation, NodeSpec, Routing},
    desired::{
        Command, ForeignRules, Inputs, KernelHop, KernelRoute, MAIN_TABLE, NODE_TABLE, NextHops, Path, Paths,
        Pod, Rank, RouteKey, Rule, Selector, State, Via, desired, diff, path_mtu,
    },
};
use proptest::{collection, prelude::*};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Addresses of node 1, and the machine's.
const OWN: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1)),
    IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// Node `number` of a dual-stack cluster.
fn node(number: u8) -> NodeSpec {
    NodeSpec {
        name: format!("node{number}"),
        addresses: vec![ip(&format!("198.51.100.{number}")), ip(&format!("2001:db8::{number}"))],
        blocks: vec![net(&format!("10.32.{number}.0/24")), net(&format!("fd10:32::{number}:0/112"))],
        ..NodeSpec::default()
    }
}

fn cluster(numbers: impl IntoIterator<Item = u8>) -> ClusterSpec {
    ClusterSpec {
        ranges: vec![net("10.32.0.0/12"), net("fd10:32::/48")],
        no_masquerade: vec![net("192.0.2.0/24")],
        nodes: numbers.into_iter().map(node).collect(),
        ..ClusterSpec::default()
    }
}

fn inputs<'a>(cluster: &'a ClusterSpec, paths: &'a Paths, pods: &'a [Pod]) -> Inputs<'a> {
    Inputs {
        cluster,
        node: "node1",
        subnets: &[],
        masqueraded: &[],
        delegated: &[],
        foreign_rules: ForeignRules::default(),
        host_addresses: &OWN,
        paths,
        pods,
    }
}

/// Paths through a router, by their ends.
fn routed(ends: &[(&str, u32)]) -> Paths {
    let path = |mtu| Path { device: 3, via: Via::Router(ip("198.51.100.254")), mtu, is_ethernet: true };
    ends.iter().map(|(end, mtu)| (ip(end), path(*mtu))).collect()
}

/// The path to both addresses of node 2 on the link of interface 3.
fn on_link(mtu: u32) -> Paths {
    let path = Path { device: 3, via: Via::Link, mtu, is_ethernet: true };
    BTreeMap::from([(ip("198.51.100.2"), path), (ip("2001:db8::2"), path)])
}

fn pod_mtu(cluster: &ClusterSpec, paths: &Paths, uplink: Option<u32>) -> u32 {
    NextHops { cluster, node: "node1", paths }.pod_mtu(uplink, false)
}

fn main_route(destination: &str) -> RouteKey {
    RouteKey { table: MAIN_TABLE, destination: net(destination), rank: Rank::First }
}

/// Carries out the commands as a kernel would.
fn apply(mut state: State, commands: &[Command]) -> State {
    for command in commands {
        match *command {
            Command::SetEntry(to, value) => drop(state.entries.insert(to, value)),
            Command::SetRoute(key, route) => drop(state.routes.insert(key, route)),
            Command::AddRule(rule) => assert!(state.rules.insert(rule)),
            Command::RemoveRule(rule) => assert!(state.rules.remove(&rule)),
            Command::RemoveRoute(key, route) => assert_eq!(state.routes.remove(&key), Some(route)),
            Command::RemoveEntry(to) => assert!(state.entries.remove(&to).is_some()),
        }
    }
    state
}

#[test]
fn a_remote_block_is_one_entry_and_one_route_with_the_path_mtu_and_the_nodes_source() {
    let (cluster, mtu) = (cluster([1, 2]), routed(&[("198.51.100.2", 9000)]));
    let state = desired(&inputs(&cluster, &mtu, &[])).state;
    let node = Addr::from(ip("198.51.100.2"));
    let value = RouteValue::remote(RouteKind::pods(Transport::Tunnel), node, 8950);
    assert_eq!(state.entries[&net("10.32.2.0/24")], value);
    assert_eq!(state.entries[&net("fd10:32::2:0/112")], value);
    let v4 = KernelRoute { hop: KernelHop::Overlay, source: Some(ip("198.51.100.1")), mtu: Some(8950) };
    let v6 = KernelRoute { source: Some(ip("2001:db8::1")), ..v4 };
    assert_eq!(state.routes[&main_route("10.32.2.0/24")], v4);
    assert_eq!(state.routes[&main_route("fd10:32::2:0/112")], v6);
}

#[test]
fn an_address_that_the_machine_does_not_have_yet_is_no_source() {
    let (cluster, mtu) = (cluster([1, 2]), BTreeMap::new());
    let state = desired(&Inputs { host_addresses: &OWN[..1], ..inputs(&cluster, &mtu, &[]) }).state;
    assert_eq!(state.routes[&main_route("10.32.2.0/24")].source, Some(OWN[0]));
    assert_eq!(state.routes[&main_route("fd10:32::2:0/112")].source, None);
}

#[test]
fn pods_of_a_node_on_the_link_are_reached_without_the_tunnel_by_its_address_of_their_family() {
    let (cluster, paths) = (cluster([1, 2]), on_link(1500));
    let state = desired(&inputs(&cluster, &paths, &[])).state;
    let node = Addr::from(ip("198.51.100.2"));
    let value = |kind, mtu| RouteValue::remote(kind, node, mtu);
    for (block, via) in [("10.32.2.0/24", "198.51.100.2"), ("fd10:32::2:0/112", "2001:db8::2")] {
        assert_eq!(
            state.entries[&net(block)],
            value(RouteKind::pods(Transport::Direct), 1450),
            "the node is known by its first address"
        );
        let hop = KernelHop::Direct { ifindex: 3, via: ip(via) };
        let found = state.routes[&main_route(block)];
        assert_eq!((found.hop, found.mtu), (hop, Some(1450)));
    }
    for host in ["198.51.100.2/32", "2001:db8::2/128"] {
        assert_eq!(state.entries[&net(host)], value(RouteKind::node(Transport::Direct), 1500));
        assert!(state.routes.keys().all(|key| key.destination != net(host)), "{host} is on the link");
    }
    let nat = desired(&inputs(&cluster, &paths, &[])).nat;
    assert!(nat.exempt.contains(&net("198.51.100.2/32")) && nat.exempt.contains(&net("2001:db8::2/128")));
    assert_eq!(pod_mtu(&cluster, &paths, None), 1450, "another node may come that needs the tunnel");
}

#[test]
fn only_the_device_encapsulates_for_a_node_that_says_so_and_beyond_other_than_ethernet() {
    let flags = |cluster: &ClusterSpec, paths: &Paths| {
        desired(&inputs(cluster, paths, &[])).state.entries[&net("10.32.2.0/24")].flags
    };
    let mut paths = routed(&[("198.51.100.2", 1500)]);
    let mut cluster = cluster([1, 2]);
    assert_eq!(flags(&cluster, &paths), 0);
    cluster.nodes[1].encapsulation = Some(Encapsulation::Device);
    assert_eq!(flags(&cluster, &paths), route_flags::KERNEL_ENCAPSULATION);
    cluster.nodes[1].encapsulation = None;
    paths.values_mut().for_each(|path| path.is_ethernet = false);
    assert_eq!(flags(&cluster, &paths), route_flags::KERNEL_ENCAPSULATION);
    paths.values_mut().for_each(|path| path.via = Via::Link);
    let entry = desired(&inputs(&cluster, &paths, &[])).state.entries[&net("10.32.2.0/24")];
    assert_eq!(
        entry.kind(),
        Ok(RouteKind::pods(Transport::Tunnel)),
        "WireGuard would not take pods' addresses by itself"
    );
}

#[test]
fn where_nobody_uses_the_tunnel_pods_have_the_whole_mtu() {
    let (mut cluster, paths) = (ClusterSpec { routing: Routing::Direct, ..cluster([1, 2]) }, on_link(1500));
    let mtu = |cluster: &ClusterSpec| {
        let entry = desired(&inputs(cluster, &paths, &[])).state.entries[&net("10.32.2.0/24")].mtu;
        (entry, pod_mtu(cluster, &paths, None))
    };
    assert_eq!(mtu(&cluster), (1500, 1500));
    cluster.nodes[1].routing = Some(Routing::Auto);
    assert_eq!(mtu(&cluster), (1450, 1450), "node 2 may send through the tunnel");
}

#[test]
fn a_family_without_an_address_on_the_link_takes_the_tunnel() {
    let (cluster, mut paths) = (cluster([1, 2]), on_link(1500));
    paths.remove(&ip("2001:db8::2"));
    let state = desired(&inputs(&cluster, &paths, &[])).state;
    assert!(state.entries[&net("10.32.2.0/24")].goes_by(Transport::Direct));
    assert!(state.entries[&net("fd10:32::2:0/112")].goes_by(Transport::Tunnel));
    assert_eq!(state.routes[&main_route("fd10:32::2:0/112")].hop, KernelHop::Overlay);
    assert_eq!(pod_mtu(&cluster, &paths, None), 1450, "what fits both ways");
}

#[test]
fn routing_is_the_nodes_own_choice_and_else_the_clusters() {
    let kind = |routing, own, paths: &Paths| {
        let mut cluster = ClusterSpec { routing, ..cluster([1, 2]) };
        cluster.nodes[0].routing = own;
        let state = desired(&inputs(&cluster, paths, &[])).state;
        (state.entries[&net("10.32.2.0/24")].kind(), state.routes[&main_route("10.32.2.0/24")].hop)
    };
    let (near, far) = (on_link(1500), routed(&[("198.51.100.2", 1500)]));
    let tunnel = (Ok(RouteKind::pods(Transport::Tunnel)), KernelHop::Overlay);
    let direct =
        |via| (Ok(RouteKind::pods(Transport::Direct)), KernelHop::Direct { ifindex: 3, via: ip(via) });
    assert_eq!(kind(Routing::Auto, None, &far), tunnel);
    assert_eq!(kind(Routing::Tunnel, None, &near), tunnel);
    assert_eq!(kind(Routing::Direct, Some(Routing::Tunnel), &near), tunnel);
    assert_eq!(kind(Routing::Tunnel, Some(Routing::Direct), &near), direct("198.51.100.2"));
    assert_eq!(kind(Routing::Direct, None, &far), direct("198.51.100.254"), "the router knows the blocks");
    assert_eq!(kind(Routing::Direct, None, &Paths::new()), tunnel, "nowhere else to go");
}

#[test]
fn every_address_of_a_remote_node_leads_to_the_end_of_its_tunnel() {
    let (cluster, mtu) = (cluster([1, 2]), BTreeMap::new());
    let state = desired(&inputs(&cluster, &mtu, &[])).state;
    let node = Addr::from(ip("198.51.100.2"));
    let value = RouteValue::remote(RouteKind::node(Transport::Tunnel), node, 1450);
    for host in ["198.51.100.2/32", "2001:db8::2/128"] {
        assert_eq!(state.entries[&net(host)], value);
        let key = RouteKey { table: NODE_TABLE, destination: net(host), rank: Rank::First };
        assert_eq!(
            state.routes[&key],
            KernelRoute { hop: KernelHop::Overlay, source: None, mtu: Some(1450) }
        );
        assert!(!state.routes.contains_key(&main_route(host)), "the node's own packets stay on the underlay");
    }
    assert_eq!(
        state.rules,
        BTreeSet::from(["10.32.1.0/24", "fd10:32::1:0/112"].map(|from| from_pods(from, 5230)))
    );
}

fn from_pods(prefix: &str, preference: u32) -> Rule {
    Rule { selector: Selector::From(net(prefix)), table: NODE_TABLE, preference, suppress: None }
}

fn to_pods(prefix: &str, preference: u32) -> Rule {
    Rule { selector: Selector::To(net(prefix)), table: MAIN_TABLE, preference, suppress: None }
}

#[test]
fn pods_are_looked_up_before_the_rules_of_others_of_their_family() {
    let (cluster, mtu, subnets) = (cluster([1, 2]), BTreeMap::new(), [net("10.9.0.0/24")]);
    for (first, of_nodes, of_pods) in [
        (32_000, 5230, 150),
        (5230, 5229, 150),
        (220, 219, 150),
        (150, 149, 149),
        (2, 1, 1),
        (1, 1, 1),
        (0, 1, 1),
    ] {
        let foreign_rules = ForeignRules { v4: Some(first), v6: None };
        let inputs = Inputs { subnets: &subnets, foreign_rules, ..inputs(&cluster, &mtu, &[]) };
        let expected = [
            from_pods("10.9.0.0/24", of_nodes),
            from_pods("10.32.1.0/24", of_nodes),
            from_pods("fd10:32::1:0/112", 5230),
            to_pods("10.9.0.0/24", of_pods),
            to_pods("10.32.0.0/12", of_pods),
        ];
        assert_eq!(desired(&inputs).state.rules, BTreeSet::from(expected), "rules of others from {first} on");
    }
}

#[test]
fn in_a_network_of_another_ipam_the_pods_own_routes_alone_come_before_the_rules_of_others() {
    let (cluster, paths, delegated) = (ClusterSpec::default(), BTreeMap::new(), [net("198.51.100.0/24")]);
    let foreign_rules = ForeignRules { v4: Some(5270), v6: Some(5270) };
    let inputs = Inputs { delegated: &delegated, foreign_rules, ..inputs(&cluster, &paths, &[]) };
    let rule = Rule { suppress: Some(31), ..to_pods("198.51.100.0/24", 150) };
    assert_eq!(desired(&inputs).state.rules, BTreeSet::from([rule]));
}

#[test]
fn what_no_pod_holds_is_unreachable() {
    let (cluster, mtu) = (cluster([1]), BTreeMap::new());
    let state = desired(&inputs(&cluster, &mtu, &[])).state;
    let unreachable: Vec<String> =
        state.routes.iter().map(|(key, route)| format!("{} {:?}", key.destination, route.hop)).collect();
    let expected = ["10.32.0.0/12", "10.32.1.0/24", "fd10:32::/48", "fd10:32::1:0/112"];
    assert_eq!(unreachable, expected.map(|net| format!("{net} Unreachable")));
    assert!(state.entries[&net("10.32.1.0/24")].is(Destination::OwnBlock));
    assert!(state.rules.is_empty(), "alone, no rule is needed");
}

#[test]
fn a_pod_has_one_route_with_its_own_mtu() {
    let (cluster, mtu) = (cluster([1]), BTreeMap::new());
    let pods = [Pod { address: ip("10.32.1.7"), ifindex: 9, mtu: 1400 }];
    let state = desired(&inputs(&cluster, &mtu, &pods)).state;
    let expected =
        KernelRoute { hop: KernelHop::Pod { ifindex: 9 }, source: Some(ip("198.51.100.1")), mtu: Some(1400) };
    assert_eq!(state.routes[&main_route("10.32.1.7/32")], expected);
}

#[test]
fn packets_to_the_cluster_and_to_listed_networks_are_not_masqueraded() {
    let (mut cluster, mtu) = (cluster([1, 2]), BTreeMap::new());
    let nat = desired(&inputs(&cluster, &mtu, &[])).nat;
    assert_eq!(nat.sources, BTreeSet::from([net("10.32.1.0/24"), net("fd10:32::1:0/112")]));
    assert_eq!(nat.exempt, BTreeSet::from([net("10.32.0.0/12"), net("fd10:32::/48"), net("192.0.2.0/24")]));
    cluster.masquerade = false;
    assert!(desired(&inputs(&cluster, &mtu, &[])).nat.sources.is_empty());
}

#[test]
fn a_single_machine_needs_nothing_but_its_subnet() {
    let (cluster, mtu, subnets, own) =
        (ClusterSpec::default(), BTreeMap::new(), [net("10.22.0.0/16")], [ip("192.0.2.1")]);
    let alone = Inputs {
        subnets: &subnets,
        masqueraded: &subnets,
        host_addresses: &own,
        ..inputs(&cluster, &mtu, &[])
    };
    let desired = desired(&alone);
    let kinds: Vec<u32> = desired.state.entries.values().map(|value| value.destination).collect();
    assert_eq!(kinds, [Destination::OwnBlock as u32, Destination::OwnNode as u32]);
    assert_eq!(desired.nat.sources, BTreeSet::from(subnets));
    assert_eq!(desired.state.routes.len(), 1);
}

#[test]
fn the_pod_mtu_fits_every_path() {
    let mtu = routed(&[("198.51.100.2", 9000), ("198.51.100.3", 1400)]);
    assert_eq!(pod_mtu(&cluster([1, 2, 3]), &mtu, Some(9000)), 1350);
    assert_eq!(pod_mtu(&cluster([1, 2]), &mtu, Some(1500)), 8950);
    assert_eq!(pod_mtu(&cluster([1]), &mtu, Some(9000)), 8950);
    assert_eq!(pod_mtu(&ClusterSpec::default(), &mtu, Some(9000)), 9000);
    assert_eq!(pod_mtu(&ClusterSpec::default(), &mtu, None), 1500);
    assert_eq!(path_mtu(ip("2001:db8::2"), Some(1500)), 1430);
}

#[test]
fn a_block_that_moves_is_reached_at_every_step() {
    let (before, mut after, mtu) = (cluster([1, 2, 3]), cluster([1, 2, 3]), BTreeMap::new());
    let moved = after.nodes[1].blocks.remove(0);
    after.nodes[2].blocks.push(moved);
    let (before, after) =
        (desired(&inputs(&before, &mtu, &[])).state, desired(&inputs(&after, &mtu, &[])).state);
    let commands = diff(&after, &before);
    for step in 0..=commands.len() {
        assert!(apply(before.clone(), &commands[..step]).entries.contains_key(&moved));
    }
    assert_eq!(commands.len(), 1, "the kernel route is the same through either node: {commands:?}");
}

/// Any small state: few keys and values, so that two of them share some.
fn states() -> impl Strategy<Value = State> {
    let prefix = prop_oneof![
        (0u8..6).prop_map(|n| net(&format!("10.32.{n}.0/24"))),
        (0u8..6).prop_map(|n| net(&format!("fd10::{n}:0/112"))),
    ];
    let value =
        (1u32..=5, 0u32..=2, 1400u32..1403, 0u32..2).prop_map(|(destination, transport, mtu, flags)| {
            RouteValue { destination, transport, mtu, node: Addr::UNSPECIFIED, flags, class: 0 }
        });
    let hop = prop_oneof![
        (1u32..4).prop_map(|ifindex| KernelHop::Pod { ifindex }),
        Just(KernelHop::Overlay),
        Just(KernelHop::Unreachable),
        Just(KernelHop::Direct { ifindex: 3, via: OWN[0] })
    ];
    let rank = prop_oneof![Just(Rank::First), Just(Rank::Spare), Just(Rank::Unreachable)];
    let key = (prefix.clone(), prop_oneof![Just(MAIN_TABLE), Just(NODE_TABLE)], rank)
        .prop_map(|(destination, table, rank)| RouteKey { table, destination, rank });
    let route = (hop, proptest::option::of(1400u32..1402)).prop_map(|(hop, mtu)| KernelRoute {
        hop,
        source: None,
        mtu,
    });
    (
        collection::btree_map(prefix.clone(), value, 0..10),
        collection::btree_map(key, route, 0..10),
        collection::btree_set(prefix.prop_map(|prefix| to_pods(&prefix.to_string(), 150)), 0..6),
    )
        .prop_map(|(entries, routes, rules)| State { entries, routes, rules })
}

fn differing<K: Ord, V: PartialEq>(a: &BTreeMap<K, V>, b: &BTreeMap<K, V>) -> usize {
    let keys: BTreeSet<&K> = a.keys().chain(b.keys()).collect();
    keys.into_iter().filter(|key| a.get(key) != b.get(key)).count()
}

proptest! {
    #[test]
    fn applying_the_difference_arrives_at_the_desired_state(actual in states(), wanted in states()) {
        let commands = diff(&wanted, &actual);
        prop_assert_eq!(apply(actual, &commands), wanted);
    }

    #[test]
    fn the_difference_has_one_command_for_each_thing_that_differs(actual in states(), wanted in states()) {
        let least = differing(&wanted.entries, &actual.entries)
            + differing(&wanted.routes, &actual.routes)
            + wanted.rules.symmetric_difference(&actual.rules).count();
        prop_assert_eq!(diff(&wanted, &actual).len(), least);
    }

    #[test]
    fn a_second_pass_has_nothing_to_do(actual in states(), wanted in states()) {
        let commands = diff(&wanted, &actual);
        let reached = apply(actual, &commands);
        prop_assert!(diff(&wanted, &reached).is_empty());
    }

    #[test]
    fn nothing_goes_before_everything_new_is_there(actual in states(), wanted in states()) {
        let commands = diff(&wanted, &actual);
        let is_removal = |command: &Command| {
            matches!(command, Command::RemoveRule(_) | Command::RemoveRoute(..) | Command::RemoveEntry(_))
        };
        prop_assert!(commands.is_sorted_by_key(is_removal));
    }

    #[test]
    fn a_pass_that_stops_half_way_is_finished_by_the_next(actual in states(), wanted in states(), stop in 0usize..20) {
        let commands = diff(&wanted, &actual);
        let half = apply(actual, &commands[..stop.min(commands.len())]);
        let rest = diff(&wanted, &half);
        prop_assert_eq!(apply(half, &rest), wanted);
    }

    #[test]
    fn every_tunnel_entry_has_exactly_one_route_of_the_same_mtu(numbers in collection::btree_set(1u8..20, 0..12)) {
        let (cluster, mtu) = (cluster(numbers), BTreeMap::new());
        let state = desired(&inputs(&cluster, &mtu, &[])).state;
        for (prefix, value) in &state.entries {
            let found: Vec<&KernelRoute> = state
                .routes
                .iter()
                .filter(|(key, route)| key.destination == *prefix && route.hop == KernelHop::Overlay)
                .filter(|(key, _)| key.rank == Rank::First)
                .map(|(_, route)| route)
                .collect();
            prop_assert_eq!(found.len(), usize::from(value.goes_by(Transport::Tunnel)));
            prop_assert!(found.iter().all(|route| route.mtu == Some(value.mtu)));
        }
    }

    #[test]
    fn a_node_that_leaves_takes_exactly_its_own(numbers in collection::btree_set(2u8..20, 2..12), pick in 0usize..12) {
        let leaving = *numbers.iter().nth(pick % numbers.len()).unwrap();
        let everyone = cluster(numbers.iter().copied().chain([1]));
        let rest = cluster(numbers.iter().copied().filter(|n| *n != leaving).chain([1]));
        let mtu = BTreeMap::new();
        let (before, after) =
            (desired(&inputs(&everyone, &mtu, &[])).state, desired(&inputs(&rest, &mtu, &[])).state);
        let gone = node(leaving);
        let own: BTreeSet<IpNet> =
            gone.blocks.iter().copied().chain(gone.addresses.iter().copied().map(IpNet::from)).collect();
        for command in diff(&after, &before) {
            let destination = match command {
                Command::RemoveEntry(to) => to,
                Command::RemoveRoute(key, _) => key.destination,
                other => return Err(TestCaseError::fail(format!("{other:?}"))),
            };
            prop_assert!(own.contains(&destination), "{} is not the leaving node's", destination);
        }
    }
}
