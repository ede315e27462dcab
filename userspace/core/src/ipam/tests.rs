use std::net::IpAddr;

use super::memory::MemoryLedger;
use super::*;
use crate::ids::{AttachmentId, Generation, NetnsId, PodName};

const POOL: &str = "default";

fn id(container: &str) -> AttachmentId {
    AttachmentId::new("naru", container, "eth0").unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn spec(ranges: &[&str]) -> PoolSpec {
    PoolSpec::routed(Domain::naru(), POOL, ranges.iter().map(|net| net.parse().unwrap()).collect())
}

fn ledger(ranges: &[&str]) -> MemoryLedger {
    let mut ledger = MemoryLedger::default();
    set_ranges(&mut ledger, &spec(ranges), 0).unwrap();
    ledger
}

fn request(container: &str, netns: u64) -> AddressRequest {
    AddressRequest {
        netns: Some(NetnsId::Cookie(netns)),
        ..AddressRequest::new(Domain::naru(), POOL, id(container))
    }
}

fn exactly(container: &str, addresses: &[&str]) -> AddressRequest {
    AddressRequest { addresses: addresses.iter().map(|text| ip(text)).collect(), ..request(container, 1) }
}

type AssignResult = Result<Assignment, IpamError<std::convert::Infallible>>;

impl MemoryLedger {
    fn ask(&mut self, request: &AddressRequest, now: Millis) -> AssignResult {
        self.transact(|ledger| assign(ledger, request, now))
    }

    fn add(&mut self, container: &str, now: Millis) -> Vec<String> {
        let assignment = self.ask(&request(container, 1), now).unwrap();
        assignment.addresses.iter().map(ToString::to_string).collect()
    }

    fn del(&mut self, container: &str, now: Millis) {
        release(self, &Domain::naru(), &id(container), now).unwrap();
    }

    fn error(&mut self, request: &AddressRequest) -> String {
        self.ask(request, 0).unwrap_err().to_string()
    }

    fn nets(&self) -> Vec<(String, bool)> {
        let ranges = self.ranges(&Domain::naru()).unwrap();
        ranges.into_iter().map(|(_, range)| (range.net.to_string(), range.draining)).collect()
    }
}

#[test]
fn every_attachment_gets_one_address_of_each_family() {
    let mut ledger = ledger(&["10.0.0.0/24", "fd00::/112"]);
    assert_eq!(ledger.add("a", 0), ["10.0.0.0", "fd00::1"]);
    assert_eq!(ledger.add("b", 0), ["10.0.0.1", "fd00::2"]);
}

#[test]
fn only_the_families_asked_for_are_given() {
    let mut ledger = ledger(&["10.0.0.0/24", "fd00::/112"]);
    let only = |family| AddressRequest { families: vec![family], ..request("a", 1) };
    assert_eq!(ledger.ask(&only(Family::V6), 0).unwrap().addresses, [ip("fd00::1")]);
}

#[test]
fn a_second_request_from_the_same_namespace_returns_the_same_addresses() {
    let mut ledger = ledger(&["10.0.0.0/24", "fd00::/112"]);
    let first = ledger.ask(&request("a", 1), 0).unwrap();
    let again = ledger.ask(&request("a", 1), 9).unwrap();
    assert_eq!(again, Assignment { reused: true, ..first });
}

#[test]
fn a_request_from_another_namespace_supersedes_the_old_one() {
    let mut ledger = ledger(&["10.0.0.0/24"]);
    let old = ledger.ask(&request("a", 1), 0).unwrap();
    let new = ledger.ask(&request("a", 2), 9).unwrap();
    assert_eq!((new.reused, &new.addresses[..]), (false, &[ip("10.0.0.1")][..]));
    assert!(new.generation > old.generation);
    let superseded = &new.superseded[0];
    assert_eq!((superseded.address, superseded.generation), (old.addresses[0], old.generation));
    let row = ledger.row(&Domain::naru(), old.addresses[0]).unwrap().unwrap();
    assert_eq!((row.state, row.since), (State::Cooling, 9));
}

#[test]
fn a_namespace_that_was_not_known_is_learned_and_supersedes_nothing() {
    let mut ledger = ledger(&["10.0.0.0/24"]);
    let first = ledger.ask(&AddressRequest { netns: None, ..request("a", 1) }, 0).unwrap();
    let second = ledger.ask(&request("a", 7), 0).unwrap();
    assert_eq!((second.reused, second.addresses), (true, first.addresses));
    assert!(!ledger.ask(&request("a", 8), 0).unwrap().reused);
}

#[test]
fn addresses_are_used_again_as_late_as_possible() {
    let mut ledger = ledger(&["10.0.0.0/30"]);
    ledger.add("a", 0);
    ledger.del("a", 0);
    assert_eq!(ledger.add("b", 60_000), ["10.0.0.1"]);
    assert_eq!(ledger.add("c", 60_000), ["10.0.0.2"]);
    assert_eq!(ledger.add("d", 60_000), ["10.0.0.3"]);
    assert_eq!(ledger.add("e", 60_000), ["10.0.0.0"]);
}

#[test]
fn a_cooling_address_is_passed_over_while_another_is_free() {
    let mut ledger = ledger(&["10.0.0.0/31"]);
    ledger.add("a", 0);
    ledger.del("a", 0);
    assert_eq!(ledger.add("b", 1), ["10.0.0.1"]);
    ledger.del("b", 2);
    assert_eq!(ledger.add("c", 30_001), ["10.0.0.0"], "cooled for long enough by now");
}

#[test]
fn the_oldest_cooling_address_is_used_where_nothing_else_is_free() {
    let mut ledger = ledger(&["10.0.0.0/30"]);
    for container in ["a", "b", "c", "d"] {
        ledger.add(container, 0);
    }
    ledger.del("c", 5);
    ledger.del("a", 6);
    assert_eq!(ledger.add("e", 7), ["10.0.0.2"]);
    assert_eq!(ledger.add("f", 7), ["10.0.0.0"]);
    let refused = ledger.error(&request("g", 1));
    assert_eq!(refused, "pool default: no ipv4 address left: 4 assigned, 0 cooling, 0 reserved of 4");
}

#[test]
fn a_clock_that_was_set_back_does_not_keep_addresses_cooling_for_ever() {
    let mut ledger = ledger(&["10.0.0.0/24"]);
    ledger.add("a", 1_000_000);
    ledger.del("a", 1_000_000);
    assert_eq!(sweep(&mut ledger, &Domain::naru(), DEFAULT_COOLING, 999_999).unwrap(), 0);
    assert_eq!(sweep(&mut ledger, &Domain::naru(), DEFAULT_COOLING, 10).unwrap(), 1);
    assert!(ledger.rows.is_empty());
}

#[test]
fn all_families_are_assigned_or_none() {
    let mut ledger = ledger(&["10.0.0.0/24", "fd00::/128"]);
    ledger.add("a", 0);
    let before = ledger.clone();
    assert!(matches!(ledger.ask(&request("b", 1), 0), Err(IpamError::Exhausted { family: Family::V6, .. })));
    assert_eq!(ledger, before);
}

#[test]
fn a_failed_request_from_another_namespace_leaves_what_was_held() {
    let mut ledger = ledger(&["10.0.0.0/24"]);
    ledger.add("a", 0);
    let before = ledger.clone();
    assert!(ledger.ask(&AddressRequest { families: vec![Family::V6], ..request("a", 2) }, 0).is_err());
    assert_eq!(ledger, before);
}

#[test]
fn pools_without_ranges_and_missing_families_are_named() {
    let mut ledger = ledger(&["10.0.0.0/24"]);
    let elsewhere = AddressRequest { pool: "other".into(), ..request("a", 1) };
    assert_eq!(ledger.error(&elsewhere), "pool other: has no range");
    let v6 = AddressRequest { families: vec![Family::V6], ..request("a", 1) };
    assert_eq!(ledger.error(&v6), "pool default: has no ipv6 range");
}

#[test]
fn exact_addresses_are_given_and_the_other_family_is_chosen() {
    let mut ledger = ledger(&["10.0.0.0/24", "fd00::/112"]);
    let got = ledger.ask(&exactly("a", &["10.0.0.77", "10.0.0.77"]), 0).unwrap();
    assert_eq!(got.addresses, [ip("10.0.0.77"), ip("fd00::1")]);
    assert!(ledger.ask(&exactly("a", &["10.0.0.77"]), 0).unwrap().reused);
    let moved = ledger.ask(&exactly("a", &["10.0.0.78"]), 0).unwrap();
    assert_eq!((moved.addresses[0], moved.reused), (ip("10.0.0.78"), false));
}

#[test]
fn an_exact_address_that_cools_may_be_taken() {
    let mut ledger = ledger(&["10.0.0.0/24"]);
    ledger.add("a", 0);
    ledger.del("a", 0);
    assert_eq!(ledger.ask(&exactly("b", &["10.0.0.0"]), 1).unwrap().addresses, [ip("10.0.0.0")]);
}

#[test]
fn an_exact_address_that_cannot_be_had_is_refused_with_its_reason() {
    let mut ledger = MemoryLedger::default();
    set_ranges(&mut ledger, &spec(&["10.0.0.0/24", "fd00::/112"]).reserve(ip("10.0.0.1"), "gateway"), 0)
        .unwrap();
    let pod = PodName { namespace: "default".into(), name: "web-0".into(), uid: String::new() };
    ledger.ask(&AddressRequest { pod, ..exactly("a", &["10.0.0.9"]) }, 0).unwrap();
    ledger.ask(&exactly("b", &["10.0.0.8"]), 0).unwrap();
    let mut refusal = |address| ledger.error(&exactly("c", &[address]));
    assert_eq!(refusal("10.0.0.9"), "address 10.0.0.9: held by pod default/web-0 (naru/a/eth0)");
    assert_eq!(refusal("10.0.0.8"), "address 10.0.0.8: held by naru/b/eth0");
    assert_eq!(refusal("10.0.0.1"), "address 10.0.0.1: reserved (gateway)");
    assert_eq!(refusal("fd00::"), "address fd00::: reserved (subnet-router anycast)");
    assert_eq!(refusal("10.0.1.0"), "address 10.0.1.0: not in pool default");
}

#[test]
fn the_smallest_and_the_largest_ranges_work() {
    for (net, count) in
        [("10.0.0.0/32", 1), ("10.0.0.0/31", 2), ("fd00::/128", 1), ("fd00::/127", 2), ("fd00::/126", 3)]
    {
        let mut ledger = ledger(&[net]);
        for number in 0..count {
            ledger.add(&format!("c{number}"), 0);
        }
        assert!(ledger.ask(&request("more", 1), 0).is_err(), "{net}");
    }
    let mut ledger = ledger(&["10.32.0.0/12", "fd00::/64"]);
    assert_eq!(ledger.add("a", 0), ["10.32.0.0", "fd00::1"]);
    assert!(ledger.ask(&exactly("b", &["10.47.255.255", "fd00::f:ffff"]), 0).is_ok());
    assert!(ledger.ask(&exactly("c", &["fd00::10:0"]), 0).is_err());
}

#[test]
fn a_range_starts_where_asked_and_wraps() {
    let mut ledger = MemoryLedger::default();
    set_ranges(&mut ledger, &PoolSpec { start: 256 * 5 + 254, ..spec(&["10.0.0.0/24"]) }, 0).unwrap();
    assert_eq!(ledger.add("a", 0), ["10.0.0.254"]);
    assert_eq!(ledger.add("b", 0), ["10.0.0.255"]);
    assert_eq!(ledger.add("c", 0), ["10.0.0.0"]);
    assert_ne!(spec(&[]).varied_by("boot-1").start, spec(&[]).varied_by("boot-2").start);
}

#[test]
fn several_ranges_are_used_in_turn_and_the_chunks_of_each() {
    let mut ledger = ledger(&["10.0.0.0/31", "10.1.0.0/19", "10.0.1.0/32"]);
    let inside: Vec<IpAddr> =
        (2..8190_u32).map(|offset| IpAddr::from((0x0a01_0000 + offset).to_be_bytes())).collect();
    adopt(&mut ledger, &Adoption { addresses: inside, ..adoption("many", "10.1.0.2", 1) }, 0).unwrap();
    let got: Vec<_> = (0..7).flat_map(|number| ledger.add(&format!("c{number}"), 0)).collect();
    let expected = ["10.0.0.0", "10.0.0.1", "10.1.0.0", "10.1.0.1", "10.1.31.254", "10.1.31.255", "10.0.1.0"];
    assert_eq!(got, expected);
    assert!(ledger.ask(&request("more", 1), 0).is_err());
    ledger.del("c3", 0);
    assert_eq!(ledger.add("more", 30_000), ["10.1.0.1"]);
}

#[test]
fn reservations_follow_the_spec_and_pods_keep_what_they_hold() {
    let mut ledger = ledger(&["10.0.0.0/29"]);
    ledger.add("a", 0);
    ledger.add("b", 0);
    ledger.del("b", 0);
    let with = |addresses: &[&str]| {
        addresses.iter().fold(spec(&["10.0.0.0/29"]), |spec, text| spec.reserve(ip(text), "node address"))
    };
    let changes =
        set_ranges(&mut ledger, &with(&["10.0.0.0", "10.0.0.1", "10.0.0.2", "192.0.2.1"]), 0).unwrap();
    assert_eq!(changes.conflicts.iter().map(|row| row.address).collect::<Vec<_>>(), [ip("10.0.0.0")]);
    assert_eq!(ledger.add("c", 0), ["10.0.0.3"]);
    ledger.del("a", 0);
    assert!(set_ranges(&mut ledger, &with(&["10.0.0.0", "10.0.0.2"]), 0).unwrap().conflicts.is_empty());
    let usage = usage(&ledger, (&Domain::naru(), POOL, Family::V4)).unwrap();
    assert_eq!(usage, Usage { total: 8, assigned: 1, cooling: 0, reserved: 2 });
    assert_eq!(usage.free(), 5);
    assert!(ledger.ask(&exactly("d", &["10.0.0.1"]), 0).is_ok(), "no longer reserved");
}

#[test]
fn setting_the_same_ranges_again_changes_nothing() {
    let mut ledger = ledger(&["10.0.0.0/24", "fd00::/112"]);
    ledger.add("a", 0);
    let before = ledger.clone();
    let changes = set_ranges(&mut ledger, &spec(&["10.0.0.7/24", "fd00::/112", "10.0.0.128/25"]), 5).unwrap();
    assert_eq!(changes, RangeChanges::default());
    assert_eq!(ledger, before);
}

#[test]
fn network_and_broadcast_are_kept_only_where_asked() {
    let mut ledger = MemoryLedger::default();
    set_ranges(&mut ledger, &PoolSpec { keep_edges: true, ..spec(&["10.0.0.0/30"]) }, 0).unwrap();
    assert_eq!([ledger.add("a", 0), ledger.add("b", 0)], [["10.0.0.1"], ["10.0.0.2"]]);
    assert!(ledger.ask(&request("c", 1), 0).is_err());
}

#[test]
fn a_range_in_use_drains_and_goes_with_its_last_address() {
    let mut ledger = ledger(&["10.0.0.0/24", "fd00::/112"]);
    ledger.add("a", 0);
    let changes = set_ranges(&mut ledger, &spec(&["10.0.1.0/24"]), 0).unwrap();
    assert_eq!(changes.draining.len(), 2);
    assert_eq!(ledger.add("b", 0), ["10.0.1.0"]);
    assert!(ledger.ask(&exactly("c", &["10.0.0.5"]), 0).is_err());
    ledger.del("a", 0);
    ledger.add("d", 29_999);
    assert_eq!(ledger.nets().len(), 3);
    ledger.add("e", 30_000);
    assert_eq!(ledger.nets(), [("10.0.1.0/24".to_owned(), false)]);
    assert!(ledger.rows.values().all(|row| row.state == State::Assigned), "its anycast address went too");
}

#[test]
fn a_draining_range_may_come_back_as_it_was() {
    let mut ledger = ledger(&["10.0.0.0/24"]);
    ledger.add("a", 0);
    set_ranges(&mut ledger, &spec(&["10.0.1.0/24"]), 0).unwrap();
    set_ranges(&mut ledger, &spec(&["10.0.0.0/24"]), 0).unwrap();
    assert_eq!(ledger.nets(), [("10.0.0.0/24".to_owned(), false)]);
    assert_eq!(ledger.add("b", 0), ["10.0.0.1"]);
}

#[test]
fn a_range_grows_and_shrinks_around_its_pods() {
    let mut ledger = ledger(&["10.0.0.0/30"]);
    for container in ["a", "b", "c", "d"] {
        ledger.add(container, 0);
    }
    let grown = set_ranges(&mut ledger, &spec(&["10.0.0.0/29"]), 0).unwrap();
    assert_eq!((grown.removed.len(), grown.draining.len()), (1, 0));
    assert_eq!(ledger.add("e", 0), ["10.0.0.4"]);
    let shrunk = set_ranges(&mut ledger, &spec(&["10.0.0.0/30"]), 0).unwrap();
    assert_eq!(shrunk.draining.len(), 1);
    assert!(ledger.ask(&request("f", 1), 0).is_err());
    ledger.del("a", 0);
    assert_eq!(ledger.add("f", 40_000), ["10.0.0.0"]);
}

#[test]
fn pools_with_overlapping_ranges_never_share_an_address() {
    let mut ledger = ledger(&["10.0.0.0/30"]);
    set_ranges(&mut ledger, &PoolSpec { pool: "other".into(), ..spec(&["10.0.0.0/29"]) }, 0).unwrap();
    let other = |container| AddressRequest { pool: "other".into(), ..request(container, 1) };
    assert_eq!(ledger.add("a", 0), ["10.0.0.0"]);
    assert_eq!(ledger.ask(&other("b"), 0).unwrap().addresses, [ip("10.0.0.1")]);
    assert_eq!(ledger.add("c", 0), ["10.0.0.2"]);
}

#[test]
fn freeing_and_confirming_compare_the_generation() {
    let mut ledger = ledger(&["10.0.0.0/24"]);
    let old = ledger.ask(&request("a", 1), 0).unwrap();
    let naru = Domain::naru();
    confirm(&mut ledger, &naru, &id("a"), (old.generation, 12)).unwrap();
    let row = ledger.row(&naru, ip("10.0.0.0")).unwrap().unwrap();
    assert_eq!((row.ifindex, row.confirmed), (12, true));
    let refused = confirm(&mut ledger, &naru, &id("a"), (old.generation.next(), 13)).unwrap_err();
    assert_eq!(refused.to_string(), "attachment naru/a/eth0: holds no address of generation 2");
    let free = |ledger: &mut MemoryLedger, generation| {
        free_if_generation(ledger, (&naru, ip("10.0.0.0")), generation, 9).unwrap()
    };
    assert!(!free(&mut ledger, old.generation.next()));
    assert!(free(&mut ledger, old.generation));
    assert!(!free(&mut ledger, old.generation), "cooling already");
}

fn adoption(container: &str, address: &str, generation: u64) -> Adoption {
    Adoption {
        domain: Domain::naru(),
        owner: id(container),
        pod: PodName::default(),
        addresses: vec![ip(address)],
        netns: Some(NetnsId::Cookie(1)),
        ifindex: 4,
        generation: Generation(generation),
    }
}

#[test]
fn what_is_adopted_is_held_and_its_generation_is_behind_every_later_one() {
    let mut ledger = ledger(&["10.0.0.0/24"]);
    assert!(adopt(&mut ledger, &adoption("a", "10.0.0.0", 900), 0).unwrap());
    assert!(!adopt(&mut ledger, &adoption("a", "10.0.0.0", 900), 0).unwrap());
    assert!(ledger.ask(&request("a", 1), 0).unwrap().reused);
    let next = ledger.ask(&request("b", 1), 0).unwrap();
    assert_eq!(next.addresses, [ip("10.0.0.1")]);
    assert!(next.generation > Generation(900));
}

#[test]
fn an_address_outside_all_ranges_may_be_adopted_and_released() {
    let mut ledger = ledger(&["10.0.0.0/24"]);
    assert!(adopt(&mut ledger, &adoption("a", "192.0.2.1", 1), 0).unwrap());
    ledger.del("a", 0);
    sweep(&mut ledger, &Domain::naru(), 0, 1).unwrap();
    assert!(ledger.rows.is_empty());
}

#[test]
fn adoption_takes_nothing_from_another_holder_and_nothing_reserved() {
    let mut ledger = ledger(&["10.0.0.0/24", "fd00::/112"]);
    ledger.add("a", 0);
    let held = adopt(&mut ledger, &adoption("b", "10.0.0.0", 9), 0).unwrap_err();
    assert_eq!(held.to_string(), "address 10.0.0.0: held by naru/a/eth0");
    assert!(matches!(adopt(&mut ledger, &adoption("b", "fd00::", 9), 0), Err(IpamError::Reserved { .. })));
    assert!(
        !adopt(&mut ledger, &adoption("a", "10.0.0.0", 900), 0).unwrap(),
        "another generation of the owner"
    );
    ledger.del("a", 0);
    assert!(adopt(&mut ledger, &adoption("b", "10.0.0.0", 9), 0).unwrap());
}

#[test]
fn a_quarantine_keeps_an_address_that_nobody_holds() {
    let mut ledger = ledger(&["10.0.0.0/31"]);
    ledger.add("a", 0);
    let naru = Domain::naru();
    assert!(!quarantine(&mut ledger, (&naru, ip("10.0.0.0")), "two", 0).unwrap(), "held");
    assert!(quarantine(&mut ledger, (&naru, ip("10.0.0.1")), "two", 0).unwrap());
    assert!(ledger.ask(&request("b", 1), 0).is_err());
    assert_eq!(ledger.error(&exactly("b", &["10.0.0.1"])), "address 10.0.0.1: reserved (two)");
    let generation = ledger.row(&naru, ip("10.0.0.1")).unwrap().unwrap().generation;
    assert!(free_if_generation(&mut ledger, (&naru, ip("10.0.0.1")), generation, 0).unwrap());
    assert_eq!(ledger.add("b", 0), ["10.0.0.1"]);
}

#[test]
fn a_pool_goes_on_in_the_range_it_gave_out_from_last() {
    let mut ledger = ledger(&["10.0.0.0/31", "10.0.1.0/31"]);
    for container in ["a", "b", "c"] {
        ledger.add(container, 0);
    }
    ledger.del("a", 0);
    assert_eq!(ledger.add("d", 60_000), ["10.0.1.1"]);
    assert_eq!(ledger.add("e", 60_000), ["10.0.0.0"]);
}

#[test]
fn the_oldest_cooling_address_of_all_ranges_is_used_first() {
    let mut ledger = ledger(&["10.0.0.0/32", "10.0.1.0/32", "10.0.2.0/32"]);
    for container in ["a", "b", "c"] {
        ledger.add(container, 0);
    }
    ledger.del("b", 1);
    ledger.del("c", 2);
    ledger.del("a", 3);
    let order: Vec<_> = ["d", "e", "f"].iter().flat_map(|container| ledger.add(container, 4)).collect();
    assert_eq!(order, ["10.0.1.0", "10.0.2.0", "10.0.0.0"]);
}

#[test]
fn a_pool_leaves_the_reservations_of_a_pool_it_overlaps_alone() {
    let mut ledger = MemoryLedger::default();
    let other = PoolSpec { pool: "other".into(), ..spec(&["10.0.0.0/29"]) };
    set_ranges(&mut ledger, &other.reserve(ip("10.0.0.1"), "gateway"), 0).unwrap();
    set_ranges(&mut ledger, &spec(&["10.0.0.0/30"]), 0).unwrap();
    set_ranges(&mut ledger, &spec(&["10.0.0.0/30"]), 0).unwrap();
    assert_eq!([ledger.add("a", 0), ledger.add("b", 0)], [["10.0.0.0"], ["10.0.0.2"]]);
    set_ranges(&mut ledger, &spec(&["10.0.8.0/30"]), 0).unwrap();
    assert_eq!(ledger.row(&Domain::naru(), ip("10.0.0.1")).unwrap().unwrap().note, "gateway");
}
