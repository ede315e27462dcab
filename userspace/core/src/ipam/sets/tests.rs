use std::convert::Infallible;

use super::super::memory::MemoryLedger;
use super::super::{CHUNK_BITS, Chunk, Space, State, release, usage};
use super::*;
use crate::ids::{AttachmentId, NetnsId};

type AssignResult = Result<Assignment, IpamError<Infallible>>;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn set(subnets: &[(&str, &str)]) -> AddressSet {
    let whole = |(subnet, gateway): &(&str, &str)| Subnet::whole(net(subnet), gateway.parse().ok());
    AddressSet { subnets: subnets.iter().map(whole).collect() }
}

fn part(subnet: &str, first: &str, last: &str) -> AddressSet {
    let gateway = None;
    AddressSet { subnets: vec![Subnet { net: net(subnet), first: ip(first), last: ip(last), gateway }] }
}

fn id(container: &str) -> AttachmentId {
    AttachmentId::new("lan", container, "eth0").unwrap()
}

fn request(container: &str, addresses: &[&str]) -> AddressRequest {
    AddressRequest {
        netns: Some(NetnsId::Cookie(1)),
        addresses: addresses.iter().map(|text| ip(text)).collect(),
        ..AddressRequest::new(Domain::ipam("lan"), "", id(container))
    }
}

impl MemoryLedger {
    fn lease(&mut self, request: &AddressRequest, sets: &[AddressSet]) -> AssignResult {
        self.transact(|ledger| assign_from_each(ledger, request, sets, 0))
    }

    fn leased(&mut self, container: &str, sets: &[AddressSet]) -> Vec<String> {
        let assignment = self.lease(&request(container, &[]), sets).unwrap();
        assignment.addresses.iter().map(ToString::to_string).collect()
    }
}

#[test]
fn one_address_of_every_set_comes_in_the_order_of_the_sets() {
    let sets = [
        set(&[("fd00::/64", "fd00::1")]),
        set(&[("10.0.0.0/24", "10.0.0.1")]),
        set(&[("10.0.1.0/24", "10.0.1.9")]),
    ];
    let mut ledger = MemoryLedger::default();
    assert_eq!(ledger.leased("c1", &sets), ["fd00::2", "10.0.0.2", "10.0.1.1"]);
    assert_eq!(ledger.leased("c2", &sets), ["fd00::3", "10.0.0.3", "10.0.1.2"]);
    assert_eq!(ledger.leased("c1", &sets), ["fd00::2", "10.0.0.2", "10.0.1.1"]);
}

#[test]
fn network_broadcast_and_gateway_are_leases_of_nobody() {
    let sets = [set(&[("10.0.0.0/29", "10.0.0.3")])];
    let mut ledger = MemoryLedger::default();
    let given: Vec<String> = (0..5).flat_map(|number| ledger.leased(&format!("c{number}"), &sets)).collect();
    assert_eq!(given, ["10.0.0.1", "10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
    let refused = ledger.lease(&request("c5", &[]), &sets).unwrap_err().to_string();
    assert_eq!(
        refused,
        "pool 10.0.0.0/29 (gateway 10.0.0.3): no ipv4 address left: 5 assigned, 0 cooling, 3 reserved of 8"
    );
}

#[test]
fn the_smallest_subnets_give_what_they_have() {
    let mut ledger = MemoryLedger::default();
    assert_eq!(ledger.leased("c1", &[set(&[("10.0.0.0/31", "10.0.0.1")])]), ["10.0.0.0"]);
    assert_eq!(ledger.leased("c2", &[set(&[("10.1.0.0/32", "")])]), ["10.1.0.0"]);
    assert_eq!(ledger.leased("c3", &[set(&[("fd00::/127", "fd00::")])]), ["fd00::1"]);
    assert_eq!(ledger.leased("c4", &[set(&[("fd01::5/128", "")])]), ["fd01::5"]);
}

#[test]
fn part_of_a_subnet_is_given_from_its_first_to_its_last_address() {
    let sets = [part("10.0.0.0/16", "10.0.0.254", "10.0.1.1"), part("fd00::/112", "fd00::8", "fd00::b")];
    let mut ledger = MemoryLedger::default();
    let given: Vec<String> = (0..4).flat_map(|number| ledger.leased(&format!("c{number}"), &sets)).collect();
    assert_eq!(
        given,
        ["10.0.0.254", "fd00::8", "10.0.0.255", "fd00::9", "10.0.1.0", "fd00::a", "10.0.1.1", "fd00::b"]
    );
    assert!(ledger.lease(&request("c4", &[]), &sets).is_err());
}

#[test]
fn a_huge_part_is_used_up_to_a_million_addresses() {
    let blocks = part("fd00::/64", "fd00::1", "fd00::ffff:ffff:ffff:fffe").subnets[0].blocks();
    let size: u128 = blocks.iter().map(|block| 1_u128 << (128 - block.prefix_len())).sum();
    assert!(size >= u128::from(MAX_RANGE) && blocks.len() <= 21, "{size} in {}", blocks.len());
}

#[test]
fn subnets_of_a_set_are_used_one_after_the_other() {
    let sets = [set(&[("10.0.0.0/30", "10.0.0.1"), ("10.0.9.0/30", "10.0.9.1")])];
    let mut ledger = MemoryLedger::default();
    assert_eq!(ledger.leased("c1", &sets), ["10.0.0.2"]);
    assert_eq!(ledger.leased("c2", &sets), ["10.0.9.2"]);
}

#[test]
fn asked_addresses_go_to_their_sets_and_what_fits_none_refuses_all() {
    let sets = [set(&[("10.0.0.0/24", "10.0.0.1")]), set(&[("fd00::/64", "fd00::1")])];
    let mut ledger = MemoryLedger::default();
    let got = ledger.lease(&request("c1", &["fd00::99", "10.0.0.77"]), &sets).unwrap();
    assert_eq!(got.addresses, [ip("10.0.0.77"), ip("fd00::99")]);
    let error = |ledger: &mut MemoryLedger, asked: &str| {
        ledger.lease(&request("c2", &[asked]), &sets).unwrap_err().to_string()
    };
    assert_eq!(error(&mut ledger, "10.0.0.77"), "address 10.0.0.77: held by lan/c1/eth0");
    assert_eq!(error(&mut ledger, "10.0.0.1"), "address 10.0.0.1: reserved (gateway)");
    assert!(error(&mut ledger, "10.9.0.1").starts_with("address 10.9.0.1: not in pool 10.0.0.0/24"));
    let held = ledger.rows.values().filter(|row| row.state == State::Assigned).count();
    assert_eq!(held, 2, "a refused request holds nothing");
}

#[test]
fn a_container_made_anew_or_a_changed_configuration_supersedes() {
    let (old, new) = ([set(&[("10.0.0.0/24", "10.0.0.1")])], [set(&[("10.0.8.0/24", "10.0.8.1")])]);
    let mut ledger = MemoryLedger::default();
    assert_eq!(ledger.leased("c1", &old), ["10.0.0.2"]);
    let other = AddressRequest { netns: Some(NetnsId::Cookie(2)), ..request("c1", &[]) };
    let again = ledger.lease(&other, &old).unwrap();
    assert_eq!((again.addresses, again.superseded.len()), (vec![ip("10.0.0.3")], 1));
    let moved = ledger.lease(&other, &new).unwrap();
    assert_eq!(moved.addresses, [ip("10.0.8.2")]);
    let draining = |ledger: &MemoryLedger| {
        let ranges = ledger.ranges(&Domain::ipam("lan")).unwrap();
        ranges.into_iter().map(|(_, range)| (range.net, range.draining)).collect::<Vec<_>>()
    };
    assert_eq!(draining(&ledger), [(net("10.0.0.0/24"), true), (net("10.0.8.0/24"), false)]);
    assert_eq!(ledger.leased("c2", &old), ["10.0.0.4"]);
    assert_eq!(draining(&ledger), [(net("10.0.0.0/24"), false), (net("10.0.8.0/24"), true)]);
}

#[test]
fn two_networks_may_share_a_subnet() {
    let sets = [set(&[("10.0.0.0/24", "10.0.0.1")])];
    let mut ledger = MemoryLedger::default();
    assert_eq!(ledger.leased("c1", &sets), ["10.0.0.2"]);
    let other = AttachmentId::new("wan", "c1", "eth0").unwrap();
    let other = AddressRequest { owner: other, domain: Domain::ipam("wan"), ..request("c1", &[]) };
    assert_eq!(ledger.lease(&other, &sets).unwrap().addresses, [ip("10.0.0.2")]);
}

#[test]
fn an_address_given_back_comes_last() {
    let sets = [set(&[("10.0.0.0/29", "10.0.0.1")])];
    let mut ledger = MemoryLedger::default();
    let all: Vec<String> = (0..5).flat_map(|number| ledger.leased(&format!("c{number}"), &sets)).collect();
    release(&mut ledger, &Domain::ipam("lan"), &id("c3"), 7).unwrap();
    release(&mut ledger, &Domain::ipam("lan"), &id("c1"), 8).unwrap();
    assert_eq!(ledger.leased("c5", &sets), [all[3].as_str()], "the one cooling for longest");
}

#[test]
fn weaves_default_range_has_1_048_574_addresses_and_gives_out_the_last_ones_at_any_fill() {
    let (sets, domain) = ([set(&[("10.32.0.0/12", "")])], Domain::ipam("lan"));
    let mut ledger = MemoryLedger::default();
    assert_eq!(ledger.leased("c0", &sets), ["10.32.0.1"]);
    let used = usage(&ledger, (&domain, &sets[0].pool(), Family::V4)).unwrap();
    assert_eq!((used.total, used.reserved, used.free() + used.assigned), (1_048_576, 2, 1_048_574));
    let (range, _) = ledger.ranges(&domain).unwrap().remove(0);
    for index in 0..MAX_RANGE / CHUNK_BITS {
        ledger.set_chunk(range, &Chunk::new(index, 0)).unwrap();
    }
    ledger.rows.remove(&(domain, ip("10.32.0.1")));
    // Ten are left: in the chunk of the cursor, in the middle, and up to the broadcast address.
    for (index, offset) in [(0, 1), (100, 7)].into_iter().chain((4087..4095).map(|offset| (255, offset))) {
        let mut chunk = ledger.chunk(range, index).unwrap().unwrap();
        chunk.set(offset, false);
        ledger.set_chunk(range, &chunk).unwrap();
    }
    let given: Vec<String> =
        (1..=10).flat_map(|number| ledger.leased(&format!("c{number}"), &sets)).collect();
    assert_eq!(given[..3], ["10.38.64.7", "10.47.255.247", "10.47.255.248"]);
    assert_eq!(given[8..], ["10.47.255.254", "10.32.0.1"]);
    assert!(ledger.lease(&request("c11", &[]), &sets).is_err());
}
