//! Cached next hops on the underlay, and the packets for which they are used.

use std::net::IpAddr;

use aya::maps::{Map, MapData, PerCpuArray};
use naru_abi::{Config, Hook::FromPod, MAX_NEXT_HOPS, NextHopValue, Outcome, Verdict, features, maps};
use naru_e2e::probe::{ping, tcp};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::{
    frames::Packet,
    kernel::has_encapsulation,
    node::{Node, config},
    pair::{Mode, Pair},
    run::{growth, run},
    world::{A, FAMILIES, Family, PATH_MTU, populate},
};

#[repr(transparent)]
#[derive(Clone, Copy)]
struct Raw(NextHopValue);
// SAFETY: the type is plain: integers in a fixed layout, without padding.
unsafe impl aya::Pod for Raw {}

/// A node with the table's uplink, whose programs do everything themselves.
fn node(more: u32) -> Node {
    let node = Node::new();
    populate(&node);
    let own = if has_encapsulation() { features::OWN_ENCAPSULATION } else { 0 };
    let features = features::DIRECT | own | more;
    node.datapath().config().unwrap().set(Config { features, ..config(node.ifindex("pod5")) }).unwrap();
    node
}

/// Keeps the thread, and those that it starts, on one CPU: a place of the cache is one CPU's.
struct OneCpu(CpuSet);

impl OneCpu {
    fn new() -> Self {
        let mut first = CpuSet::new();
        first.set(0);
        let before = sched_getaffinity(None).unwrap();
        sched_setaffinity(None, &first).unwrap();
        Self(before)
    }
}

impl Drop for OneCpu {
    fn drop(&mut self) {
        sched_setaffinity(None, &self.0).unwrap();
    }
}

/// Entries about packets to the destination of `packet`, on any CPU.
fn known(node: &Node, packet: &Packet) -> Vec<NextHopValue> {
    known_towards(node, packet.destination)
}

fn known_towards(node: &Node, destination: IpAddr) -> Vec<NextHopValue> {
    let data = MapData::from_pin(node.pins.map(maps::NEXT_HOPS)).unwrap();
    let map: PerCpuArray<_, Raw> = Map::from_map_data(data).unwrap().try_into().unwrap();
    let all = (0..MAX_NEXT_HOPS).flat_map(|place| map.get(&place, 0).unwrap().to_vec());
    all.map(|Raw(value)| value).filter(|value| value.destination == destination.into()).collect()
}

/// Sends the packet from A, which is to end so.
fn send(node: &Node, packet: &Packet, outcome: impl Into<Outcome>) {
    let stats = node.datapath().stats().unwrap();
    let before = stats.totals().unwrap();
    run(node, FromPod, node.ifindex(A.interface), &packet.frame(), None);
    let ends: Vec<_> = growth(&stats, &before).iter().map(|end| end.outcome).collect();
    assert_eq!(ends, [outcome.into()]);
}

/// The kernel looks up the neighbour first, and returns the path's MTU only if that is known.
fn know_neighbours(node: &Node) {
    for next_hop in ["192.0.2.4", "2001:db8::4", "192.0.2.44", "2001:db8::44"] {
        node.ip(&format!("neigh replace {next_hop} lladdr 02:00:00:00:00:44 dev u0 nud permanent"));
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_packet_exactly_as_long_as_its_path_takes_is_remembered_like_a_shorter_one() {
    let _one_cpu = OneCpu::new();
    let node = node(0);
    know_neighbours(&node);
    for family in FAMILIES {
        let [short, long] = [7, 9]
            .map(|host| A.sends(family, family.pick(&format!("10.4.0.{host}"), &format!("fd00:4::{host}"))));
        let length = if family == Family::V4 { "10.4.0.0/24" } else { "fd00:4::/64" };
        let gateway = family.pick("192.0.2.4", "2001:db8::4");
        node.ip(&format!("route change {length} via {gateway} mtu lock {PATH_MTU}"));
        send(&node, &short, Verdict::Direct);
        send(&node, &long.clone().sized(PATH_MTU as usize), Verdict::Direct);
        let [short, long] = [known(&node, &short), known(&node, &long)];
        let (short, long) = (short.first().unwrap(), long.first().unwrap());
        assert_eq!(
            (short.lookup.length, long.lookup.length),
            (PATH_MTU as u16, PATH_MTU as u16),
            "{family:?}"
        );
        // An answer that must not be kept is entered as if it were asked some time ago.
        assert!(long.asked >= short.asked, "{family:?}: {} after {}", long.asked, short.asked);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_longer_packet_than_the_one_that_was_asked_for_is_not_held_to_its_length() {
    let node = node(0);
    for family in FAMILIES {
        // Nothing answers there, so the kernel returns no MTU.
        let packet = A.sends(family, family.pick("10.4.0.9", "fd00:4::9"));
        for length in [100, 200, PATH_MTU as usize] {
            send(&node, &packet.clone().sized(length), Verdict::Direct);
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn rules_that_ask_for_ports_decide_for_each_pair_of_them_where_routing_is_by_ports() {
    let _one_cpu = OneCpu::new();
    for family in FAMILIES {
        let version = if family == Family::V4 { "-4" } else { "-6" };
        let other = family.pick("192.0.2.44", "2001:db8::44");
        let packet = A.sends(family, family.pick("10.4.0.9", "fd00:4::9"));
        let gateway = family.pick("192.0.2.4", "2001:db8::4");
        let next_hops = |features| {
            let node = node(features);
            know_neighbours(&node);
            node.ip(&format!("{version} rule add dport 80 ipproto udp lookup 99"));
            node.ip(&format!("{version} route add default via {other} table 99"));
            let first = |octets: IpAddr| naru_abi::Addr::from(octets);
            [79, 80, 79].map(|port| {
                send(&node, &packet.clone().udp(port), Verdict::Direct);
                let [only] = known(&node, &packet)[..] else { panic!("one CPU has one entry") };
                let words = only.lookup.next_hop;
                let hop = if family == Family::V4 { [0, 0, 0, words[0]] } else { words };
                [gateway, other].map(|ip| *first(ip).as_words() == mapped(family, hop))
            })
        };
        let (usual, other) = ([true, false], [false, true]);
        assert_eq!(next_hops(features::ROUTES_BY_PORTS), [usual, other, usual], "{family:?}");
        assert_eq!(next_hops(0), [usual; 3], "{family:?}: nothing asks, it is said");
    }
}

/// The words of an address whose IPv4 part is in the last one.
fn mapped(family: Family, [first, second, third, last]: [u32; 4]) -> [u32; 4] {
    match family {
        Family::V4 => [0, 0, u32::from_ne_bytes([0, 0, 0xff, 0xff]), last],
        Family::V6 => [first, second, third, last],
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_identification_of_outer_packets_counts_every_segment() {
    if !Mode::Own.is_possible() {
        return;
    }
    // The threads of a stream stay on the CPU of the one that starts them.
    let one_cpu = OneCpu::new();
    let pair = Pair::new(Family::V4, [Mode::Own, Mode::Own]);
    let [near, far] = pair.hosts(Family::V4);
    let node = Family::V4.remote_node();
    let seen = || {
        let ids = known_towards(&pair.near.node, node).iter().map(|value| value.id).collect::<Vec<_>>();
        (ids, pair.near.count(FromPod, Verdict::Encapsulated))
    };
    ping::all_return(&near, &far, 56, 1).unwrap();
    let (ids, sent) = seen();
    tcp::stream(&near, &far, 4 << 20, 1 << 10).unwrap();
    let (ids_after, sent_after) = seen();
    drop(one_cpu);
    let steps: u32 = ids_after.iter().zip(&ids).map(|(after, before)| after.wrapping_sub(*before)).sum();
    assert_eq!(ids_after.len(), ids.len(), "all on one CPU");
    let segments = sent_after - sent;
    assert!(segments > 2 * (4 << 20) / 65_536, "{segments} packets: in segments");
    assert_eq!(u64::from(steps), segments);
}
