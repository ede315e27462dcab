use std::collections::BTreeSet;
use std::net::IpAddr;

use super::*;
use crate::ids::{Alias, AttachmentId, Generation, NetnsId, PodName};
use crate::ipam::Domain;

const EAGER: Policy = Policy { gap: 0, unconfirmed_age: 60_000, prepared_age: 600_000 };

fn id(container: &str) -> AttachmentId {
    AttachmentId::new("naru", container, "eth0").unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A row of a wired attachment.
fn row(container: &str, address: &str, generation: u64) -> Row {
    Row {
        state: State::Assigned,
        owner: Some(id(container)),
        generation: Generation(generation),
        netns: Some(NetnsId::Cookie(generation)),
        ifindex: 7,
        confirmed: true,
        ..Row::reserved(Domain::naru(), ip(address), "", 0)
    }
}

fn link(container: &str, ifindex: u32, generation: u64, addresses: &[&str]) -> LiveLink {
    LiveLink {
        ifindex,
        name: format!("naru{ifindex}"),
        alias: Alias::new(&id(container), Generation(generation)),
        addresses: addresses.iter().map(|text| ip(text)).collect(),
        netns: Some(NetnsId::Cookie(generation)),
    }
}

fn entry(address: &str, ifindex: u32, generation: u64) -> MapEntry {
    MapEntry { address: ip(address), ifindex, generation: Generation(generation) }
}

fn route(address: &str, ifindex: u32) -> HostRoute {
    HostRoute { address: ip(address), ifindex }
}

/// The facts of a pod without a fault.
fn healthy() -> Facts {
    Facts {
        rows: vec![row("c1", "10.0.0.1", 5)],
        links: vec![link("c1", 7, 5, &["10.0.0.1"])],
        netns: BTreeSet::from([NetnsId::Cookie(5)]),
        entries: vec![entry("10.0.0.1", 7, 5)],
        routes: vec![route("10.0.0.1", 7)],
        orphans: vec![],
    }
}

/// The actions of a first and a second pass over the same facts.
fn two_passes(facts: &Facts) -> (Vec<Action>, Vec<Action>) {
    let (first, seen) = reconcile(facts, EAGER, &Pass::default(), 100_000);
    let (second, _) = reconcile(facts, EAGER, &seen, 100_001);
    (first, second)
}

fn freed(address: &str, generation: u64) -> Action {
    Action::Free { domain: Domain::naru(), address: ip(address), generation: Generation(generation) }
}

#[test]
fn nothing_is_done_where_store_and_kernel_agree() {
    assert_eq!(two_passes(&healthy()), (vec![], vec![]));
    assert_eq!(two_passes(&Facts::default()), (vec![], vec![]));
}

#[test]
fn an_address_without_veth_and_namespace_is_freed_by_the_second_pass() {
    let facts =
        Facts { links: vec![], netns: BTreeSet::from([NetnsId::Cookie(1)]), routes: vec![], ..healthy() };
    let (first, second) = two_passes(&facts);
    assert_eq!(first, []);
    assert_eq!(second, [freed("10.0.0.1", 5), Action::DeleteEntry(entry("10.0.0.1", 7, 5))]);
}

#[test]
fn an_address_is_not_freed_before_the_gap_is_over() {
    let facts = Facts { rows: vec![row("c1", "10.0.0.1", 5)], ..Facts::default() };
    let policy = Policy { gap: 10_000, ..EAGER };
    let (_, seen) = reconcile(&facts, policy, &Pass::default(), 100_000);
    let (early, seen) = reconcile(&facts, policy, &seen, 109_999);
    assert_eq!(early, []);
    let (late, _) = reconcile(&facts, policy, &seen, 110_000);
    assert_eq!(late, [freed("10.0.0.1", 5)]);
}

#[test]
fn a_reassigned_address_starts_its_two_passes_again() {
    let dead = |generation| Facts { rows: vec![row("c1", "10.0.0.1", generation)], ..Facts::default() };
    let (_, seen) = reconcile(&dead(5), EAGER, &Pass::default(), 100_000);
    let (actions, _) = reconcile(&dead(6), EAGER, &seen, 100_001);
    assert_eq!(actions, []);
}

#[test]
fn a_live_namespace_keeps_the_address_even_without_a_veth() {
    let facts = Facts { links: vec![], entries: vec![], routes: vec![], ..healthy() };
    assert_eq!(two_passes(&facts), (vec![], vec![]));
}

#[test]
fn a_live_veth_keeps_the_address_even_where_its_namespace_cannot_be_seen() {
    let facts = Facts { netns: BTreeSet::new(), ..healthy() };
    assert_eq!(two_passes(&facts), (vec![], vec![]));
}

#[test]
fn an_attachment_under_way_is_left_alone_until_it_is_old() {
    let fresh = Row { confirmed: false, since: 99_000, ..row("c1", "10.0.0.1", 5) };
    let facts = Facts { rows: vec![fresh.clone()], ..Facts::default() };
    assert_eq!(two_passes(&facts), (vec![], vec![]));
    let facts = Facts { rows: vec![Row { since: 1, ..fresh }], ..Facts::default() };
    assert_eq!(two_passes(&facts).1, [freed("10.0.0.1", 5)]);
}

#[test]
fn a_live_veth_that_the_store_forgot_is_adopted_at_once() {
    let facts = Facts { rows: vec![], ..healthy() };
    let adopt = Action::Adopt {
        owner: id("c1"),
        addresses: vec![ip("10.0.0.1")],
        netns: Some(NetnsId::Cookie(5)),
        ifindex: 7,
        generation: Generation(5),
    };
    assert_eq!(two_passes(&facts), (vec![adopt.clone()], vec![adopt]));
}

#[test]
fn a_veth_whose_addresses_were_given_back_is_deleted_not_adopted() {
    let cooling = Row { state: State::Cooling, ..row("c1", "10.0.0.1", 5) };
    let (first, second) = two_passes(&Facts { rows: vec![cooling], ..healthy() });
    let alias = Alias::new(&id("c1"), Generation(5));
    assert_eq!(first, []);
    let expected = [
        Action::DeleteEntry(entry("10.0.0.1", 7, 5)),
        Action::DeleteRoute(route("10.0.0.1", 7)),
        Action::DeleteLink { ifindex: 7, name: "naru7".into(), alias },
    ];
    assert_eq!(second, expected);
}

#[test]
fn a_veth_of_a_superseded_generation_is_deleted_and_its_successor_kept() {
    let mut facts = healthy();
    facts.links.push(link("c1", 6, 4, &["10.0.0.9"]));
    facts.routes.push(route("10.0.0.9", 6));
    let (first, second) = two_passes(&facts);
    assert_eq!(first, []);
    let alias = Alias::new(&id("c1"), Generation(4));
    let expected = [
        Action::DeleteRoute(route("10.0.0.9", 6)),
        Action::DeleteLink { ifindex: 6, name: "naru6".into(), alias },
    ];
    assert_eq!(second, expected);
}

#[test]
fn a_veth_that_never_got_an_address_is_deleted() {
    let facts = Facts { links: vec![link("c1", 7, 5, &[])], ..Facts::default() };
    let alias = Alias::new(&id("c1"), Generation(5));
    let expected = vec![Action::DeleteLink { ifindex: 7, name: "naru7".into(), alias }];
    assert_eq!(two_passes(&facts), (vec![], expected));
}

#[test]
fn a_veth_that_waits_for_its_first_address_is_deleted_when_it_has_waited_too_long() {
    let facts = Facts { links: vec![link("c1", 7, 0, &[])], ..Facts::default() };
    let (_, first) = reconcile(&facts, EAGER, &Pass::default(), 1_000);
    let (actions, second) = reconcile(&facts, EAGER, &first, 600_999);
    assert_eq!(actions, []);
    let (actions, _) = reconcile(&facts, EAGER, &second, 601_000);
    assert!(matches!(actions[..], [Action::DeleteLink { ifindex: 7, .. }]), "{actions:?}");
}

#[test]
fn entries_and_routes_that_lead_nowhere_are_deleted() {
    let mut facts = healthy();
    facts.entries.push(entry("10.0.0.2", 7, 5));
    facts.entries.push(entry("10.0.0.3", 99, 1));
    facts.routes.push(route("10.0.0.2", 7));
    let (first, second) = two_passes(&facts);
    assert_eq!(first, []);
    let expected = [
        Action::DeleteEntry(entry("10.0.0.2", 7, 5)),
        Action::DeleteEntry(entry("10.0.0.3", 99, 1)),
        Action::DeleteRoute(route("10.0.0.2", 7)),
    ];
    assert_eq!(second, expected);
}

#[test]
fn an_interface_of_which_only_the_maps_know_is_forgotten_by_the_second_pass() {
    let facts = Facts { orphans: vec![6, 9], ..healthy() };
    let forgotten = vec![Action::ForgetInterface(6), Action::ForgetInterface(9)];
    assert_eq!(two_passes(&facts), (vec![], forgotten));
}

#[test]
fn an_interface_that_has_its_index_again_is_not_forgotten() {
    let (_, seen) = reconcile(&Facts { orphans: vec![7], ..healthy() }, EAGER, &Pass::default(), 100_000);
    let (actions, seen) = reconcile(&healthy(), EAGER, &seen, 100_001);
    assert_eq!(actions, []);
    let (actions, _) = reconcile(&Facts { orphans: vec![7], ..healthy() }, EAGER, &seen, 100_002);
    assert_eq!(actions, []);
}

#[test]
fn an_entry_of_an_older_generation_is_replaced_at_once_and_deleted_by_compare() {
    let facts = Facts { entries: vec![entry("10.0.0.1", 7, 4)], ..healthy() };
    let restore = Action::RestoreEntry { address: ip("10.0.0.1"), ifindex: 7, generation: Generation(5) };
    let (first, second) = two_passes(&facts);
    assert_eq!(first, std::slice::from_ref(&restore));
    assert_eq!(second, [restore, Action::DeleteEntry(entry("10.0.0.1", 7, 4))]);
}

#[test]
fn what_a_wired_attachment_lost_is_restored_at_once() {
    let facts = Facts { entries: vec![], routes: vec![], ..healthy() };
    let address = ip("10.0.0.1");
    let restore = [
        Action::RestoreEntry { address, ifindex: 7, generation: Generation(5) },
        Action::RestoreRoute { address, ifindex: 7 },
    ];
    assert_eq!(two_passes(&facts).0, restore);
    let unconfirmed = Row { confirmed: false, since: 99_000, ..row("c1", "10.0.0.1", 5) };
    let under_way = Facts { rows: vec![unconfirmed], ..facts };
    assert_eq!(two_passes(&under_way), (vec![], vec![]));
}

#[test]
fn nothing_is_restored_to_another_veth_than_the_one_that_was_confirmed() {
    let facts =
        Facts { links: vec![link("c1", 8, 5, &["10.0.0.1"])], entries: vec![], routes: vec![], ..healthy() };
    assert_eq!(two_passes(&facts), (vec![], vec![]));
}

#[test]
fn an_address_with_two_live_holders_is_quarantined_and_neither_is_adopted_or_deleted() {
    let links = vec![link("a", 1, 1, &["10.0.0.1", "fd00::1"]), link("b", 2, 2, &["10.0.0.1"])];
    let routes = vec![route("10.0.0.1", 1), route("fd00::1", 1), route("10.0.0.1", 2)];
    let facts = Facts { links, routes, ..Facts::default() };
    let holders = vec![Alias::new(&id("a"), Generation(1)), Alias::new(&id("b"), Generation(2))];
    let adopt = Action::Adopt {
        owner: id("a"),
        addresses: vec![ip("fd00::1")],
        netns: Some(NetnsId::Cookie(1)),
        ifindex: 1,
        generation: Generation(1),
    };
    let expected = vec![Action::Quarantine { address: ip("10.0.0.1"), holders }, adopt];
    assert_eq!(two_passes(&facts), (expected.clone(), expected));
}

#[test]
fn a_quarantine_ends_with_one_holder_by_adoption_and_with_none_by_freeing() {
    let kept = Row { state: State::Quarantined, owner: None, netns: None, ..row("x", "10.0.0.1", 9) };
    let links = vec![link("a", 1, 1, &["10.0.0.1"])];
    let facts =
        Facts { rows: vec![kept.clone()], links, routes: vec![route("10.0.0.1", 1)], ..Facts::default() };
    let (first, _) = two_passes(&facts);
    assert!(
        matches!(&first[..], [Action::Adopt { addresses, .. }] if addresses == &[ip("10.0.0.1")]),
        "{first:?}"
    );
    let (first, second) = two_passes(&Facts { rows: vec![kept], ..Facts::default() });
    assert_eq!((first, second), (vec![], vec![freed("10.0.0.1", 9)]));
}

#[test]
fn an_attachment_whose_other_address_is_quarantined_keeps_both_and_gets_it_back() {
    let kept = Row { state: State::Quarantined, owner: None, netns: None, ..row("x", "10.0.0.1", 9) };
    let both = link("a", 1, 1, &["10.0.0.1", "fd00::1"]);
    let alone = Facts {
        rows: vec![kept, row("a", "fd00::1", 1)],
        links: vec![both],
        netns: BTreeSet::from([NetnsId::Cookie(1)]),
        entries: vec![entry("10.0.0.1", 1, 1), entry("fd00::1", 1, 1)],
        routes: vec![route("10.0.0.1", 1), route("fd00::1", 1)],
        orphans: vec![],
    };
    let mut shared = alone.clone();
    shared.links.push(link("b", 2, 2, &["10.0.0.1"]));
    shared.routes.push(route("10.0.0.1", 2));
    assert_eq!(two_passes(&shared), (vec![], vec![]));
    let (first, _) = two_passes(&alone);
    let back =
        |action: &Action| matches!(action, Action::Adopt { addresses, .. } if addresses == &[ip("10.0.0.1")]);
    assert!(first.len() == 1 && back(&first[0]), "{first:?}");
}

#[test]
fn a_veth_known_only_by_hash_has_its_address_kept_from_everybody() {
    let long = AttachmentId::new("naru", "c".repeat(200), "eth0").unwrap();
    let alias = Alias::new(&long, Generation(3));
    let links = vec![LiveLink { alias: alias.clone(), ..link("x", 1, 3, &["10.0.0.1"]) }];
    let facts = Facts { links, routes: vec![route("10.0.0.1", 1)], ..Facts::default() };
    let keep = Action::Quarantine { address: ip("10.0.0.1"), holders: vec![alias] };
    assert_eq!(two_passes(&facts), (vec![keep.clone()], vec![keep]));
    let known = Row { owner: Some(long), ..row("x", "10.0.0.1", 3) };
    let facts = Facts { rows: vec![known], entries: vec![entry("10.0.0.1", 1, 3)], ..facts };
    assert_eq!(two_passes(&facts), (vec![], vec![]));
}

#[test]
fn a_live_veth_with_an_address_that_a_dead_attachment_holds_waits_for_it_to_be_freed() {
    let facts = Facts {
        rows: vec![row("dead", "10.0.0.1", 3)],
        links: vec![link("live", 7, 5, &["10.0.0.1"])],
        entries: vec![],
        ..healthy()
    };
    assert_eq!(two_passes(&facts), (vec![], vec![freed("10.0.0.1", 3)]));
}

#[test]
fn rows_of_other_domains_live_by_their_namespace_alone() {
    let foreign = |netns| Row { domain: Domain::ipam("br"), netns, ..row("c9", "10.0.0.1", 8) };
    let with = |row, netns: &[u64]| {
        let netns = netns.iter().copied().map(NetnsId::Cookie).collect();
        two_passes(&Facts { rows: vec![row], netns, ..Facts::default() }).1
    };
    assert_eq!(with(foreign(Some(NetnsId::Cookie(8))), &[8]), []);
    assert_eq!(with(foreign(Some(NetnsId::Cookie(8))), &[]), []);
    assert_eq!(with(foreign(None), &[1]), []);
    let (domain, address) = (Domain::ipam("br"), ip("10.0.0.1"));
    let free = Action::Free { domain, address, generation: Generation(8) };
    assert_eq!(with(foreign(Some(NetnsId::Cookie(8))), &[1]), [free]);
}

#[test]
fn reserved_and_cooling_rows_are_never_freed_by_a_pass() {
    let reserved = Row::reserved(Domain::naru(), ip("10.0.0.1"), "gateway", 0);
    let cooling = Row { state: State::Cooling, pod: PodName::default(), ..row("c1", "10.0.0.2", 5) };
    let facts = Facts { rows: vec![reserved, cooling], ..Facts::default() };
    assert_eq!(two_passes(&facts), (vec![], vec![]));
}
