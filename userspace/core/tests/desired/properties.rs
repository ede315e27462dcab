//! The difference between any two states, and clusters of any size.

use proptest::{collection, prelude::*};

use super::*;

/// Any small state: few keys and values, so that two of them share some.
fn states() -> impl Strategy<Value = State> {
    let prefix = prop_oneof![
        (0u8..6).prop_map(|n| net(&format!("10.32.{n}.0/24"))),
        (0u8..6).prop_map(|n| net(&format!("fd10::{n}:0/112"))),
    ];
    let value = (1u32..=7, 1400u32..1403, 0u32..2).prop_map(|(kind, mtu, flags)| RouteValue {
        kind,
        mtu,
        node: Addr::UNSPECIFIED,
        flags,
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
                .map(|(_, route)| route)
                .collect();
            let is_remote = [RouteKind::Tunnel as u32, RouteKind::RemoteNode as u32].contains(&value.kind);
            prop_assert_eq!(found.len(), usize::from(is_remote));
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
