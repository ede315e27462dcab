use std::collections::BTreeSet;

use naru_abi::{
    Addr, Config, Counter, DropReason, FlowKey, FlowValue, Hook, OUTCOMES, Outcome, POD_SLOTS, PodValue,
    Verdict, features,
    pod_flags::{IN_PAIRS, RECEIVES_ANSWERS, SENDS_ANSWERS},
};
use naru_bpf::{Flows, Stats};
use naru_e2e::wire::checksum::internet;

use crate::{
    cases::{Case, cases},
    frames::fix_checksum,
    kernel::has_encapsulation,
    node::{Node, config},
    overlay::BY_WIRE,
    policy::BY_POLICY,
    run::{Gso, action, growth, run},
    world::{A, B, FAMILIES, PODS, populate},
};

#[test]
fn the_tables_together_cover_every_outcome_in_both_families() {
    for family in FAMILIES {
        let by_table: Vec<Outcome> = cases(family).iter().map(|case| case.outcome).collect();
        for index in 0..OUTCOMES {
            let outcome = Outcome::at(index).unwrap();
            let is_elsewhere = BY_WIRE.contains(&outcome) || BY_POLICY.contains(&outcome);
            assert!(by_table.contains(&outcome) || is_elsewhere, "{family:?} {outcome:?}");
        }
    }
}

#[test]
fn what_only_a_real_tunnel_can_show_is_no_more_than_its_refusals() {
    // A test run carries no tunnel key, so `from_overlay` cannot get past it there.
    use DropReason::{ForeignInnerSource, ForeignKey, ForeignOuterSource, NotForThisNode};
    let refusals = [ForeignOuterSource, ForeignInnerSource, ForeignKey, NotForThisNode];
    assert_eq!(BY_WIRE, refusals.map(Outcome::Drop));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_packet_of_the_table_comes_to_its_one_end_and_the_sums_are_exact() {
    let node = Node::new();
    populate(&node);
    run_table(&node);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_sums_are_as_exact_where_the_pods_slots_are_others() {
    let node = Node::new();
    populate(&node);
    let mut interfaces = node.datapath().interfaces().unwrap();
    for ifindex in PODS.map(|pod| node.ifindex(pod.interface)) {
        let value = interfaces.get(ifindex).unwrap().unwrap();
        assert!(interfaces.remove(ifindex).unwrap());
        interfaces.add(ifindex + POD_SLOTS, value).unwrap();
        interfaces.add(ifindex, value).unwrap();
    }
    run_table(&node);
    assert_eq!(interfaces.list().unwrap().len(), 2 * PODS.len());
    for ifindex in PODS.map(|pod| node.ifindex(pod.interface)) {
        let other = interfaces.counters(ifindex + POD_SLOTS).unwrap().unwrap();
        assert_eq!((other.tx, other.rx), Default::default());
        assert!(interfaces.remove(ifindex).unwrap() && interfaces.remove(ifindex + POD_SLOTS).unwrap());
    }
    assert!(interfaces.list().unwrap().is_empty());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn segments_that_the_kernel_has_not_counted_count_by_their_length() {
    let node = Node::new();
    populate(&node);
    node.datapath().config().unwrap().set(config(0)).unwrap();
    let stats = node.datapath().stats().unwrap();
    for family in FAMILIES {
        let to_b = A.sends(family, B.address(family));
        // Of 1000 bytes; the last one of three, of two, and the only one.
        for (length, packets) in [(3000, 3), (2200, 3), (1200, 2), (1000, 1), (10, 1)] {
            let before = stats.totals().unwrap();
            let frame = to_b.clone().tcp(length).frame();
            let gso = Gso { segments: 0, size: 1000 };
            run(&node, Hook::FromPod, node.ifindex(A.interface), &frame, Some(gso));
            let counted: Vec<Counter> = growth(&stats, &before).iter().map(|end| end.counter).collect();
            let bytes = frame.len() as u64;
            assert_eq!(counted, [Counter { packets, bytes }], "{family:?} {length}");
        }
    }
}

fn run_table(node: &Node) {
    let stats = node.datapath().stats().unwrap();
    let mut sent = Sums::default();
    let takes_out = has_encapsulation();
    for family in FAMILIES {
        let all = cases(family).into_iter();
        for case in all.filter(|case| takes_out || case.features & features::OWN_ENCAPSULATION == 0) {
            check(node, &stats, &case, &format!("{family:?}: {}", case.name));
            sent.add(&case);
        }
    }
    sent.compare_hooks(&stats);
    compare_pods(node, &sent);
}

fn check(node: &Node, stats: &Stats, case: &Case, name: &str) {
    let empty = Config { abi: 0, ..config(0) };
    let overlay = node.ifindex("pod5");
    let set = if case.is_ready { Config { features: case.features, ..config(overlay) } } else { empty };
    node.datapath().config().unwrap().set(set).unwrap();
    let mut flows = node.datapath().flows().unwrap();
    let mut pairs = node.datapath().flow_pairs().unwrap();
    fill(&mut flows, &case.known, case.room);
    fill(&mut pairs, &case.known_pairs, case.is_full_of_pairs.then_some(0));
    mark(node, case);
    let before = stats.totals().unwrap();
    let ran = run(node, case.hook, node.ifindex(case.pod.interface), &case.frame, case.gso);
    let ends: Vec<_> =
        growth(stats, &before).iter().map(|end| (end.hook, end.outcome, end.counter)).collect();
    assert_eq!(ends, [(case.hook, case.outcome, amount(case))], "{name}");
    assert_eq!(ran.action, action(case.hook, case.outcome), "{name}");
    let output = case.output.as_ref().unwrap_or(&case.frame);
    if case.outcome == Verdict::Encapsulated.into() {
        assert_eq!(without_chance(ran.frame), *output, "{name}: bytes");
    } else {
        assert_eq!(ran.frame, *output, "{name}: bytes");
    }
    let left =
        |map: &Flows| keys(map).into_iter().filter(|key| !is_filler(key)).collect::<BTreeSet<FlowKey>>();
    let all = [&case.known[..], &case.recorded].concat();
    let all_pairs = [&case.known_pairs[..], &case.paired].concat();
    assert_eq!(left(&flows), all.iter().copied().collect(), "{name}: flows");
    assert_eq!(left(&pairs), all_pairs.iter().copied().collect(), "{name}: pairs");
    for (address, value) in pods(node) {
        let before = marks(address, &case.known, &case.known_pairs);
        let after = marks(address, &all, &all_pairs);
        // A pod is marked by records that are made at its own hook, not by every record that names it.
        assert!(value.marks() & before == before && value.marks() & !after == 0, "{name}: {address:?}");
    }
    let new = |address| marks(address, &case.recorded, &case.paired);
    let is_marked = pods(node).iter().any(|(address, value)| value.marks() & new(*address) != 0);
    assert_eq!(is_marked, !case.recorded.is_empty() || !case.paired.is_empty(), "{name}: mark");
}

fn pods(node: &Node) -> Vec<(Addr, PodValue)> {
    node.datapath().pods().unwrap().entries().unwrap()
}

/// Sets the marks of every pod by the known flows.
fn mark(node: &Node, case: &Case) {
    let mut map = node.datapath().pods().unwrap();
    for (address, value) in pods(node) {
        let marks = marks(address, &case.known, &case.known_pairs);
        map.insert(address, value.with_marks(marks)).unwrap();
    }
}

/// Marks that these flows and pairs give a pod with the address.
fn marks(address: Addr, flows: &[FlowKey], pairs: &[FlowKey]) -> u32 {
    let sends = flows.iter().any(|key| key.source == address);
    let receives = flows.iter().any(|key| key.destination == address);
    let is_in_pairs = pairs.iter().any(|key| key.source == address || key.destination == address);
    (u32::from(sends) * SENDS_ANSWERS)
        | (u32::from(receives) * RECEIVES_ANSWERS)
        | (u32::from(is_in_pairs) * IN_PAIRS)
}

fn keys(flows: &Flows) -> Vec<FlowKey> {
    flows.entries().unwrap().into_iter().map(|(key, _)| key).collect()
}

/// Writes the known entries into a map, and fills the rest except for so much room.
fn fill(flows: &mut Flows, known: &[FlowKey], room: Option<usize>) {
    keys(flows).iter().for_each(|key| assert!(flows.delete(key).unwrap()));
    let value = FlowValue { last_seen: 1 };
    known.iter().for_each(|key| flows.insert(key, value).unwrap());
    if let Some(room) = room {
        (1..).map(filler).take_while(|key| flows.insert(key, value).is_ok()).for_each(drop);
        assert_eq!(keys(flows).len(), flows.capacity().unwrap() as usize);
        (1..).map(filler).take(room).for_each(|key| assert!(flows.delete(&key).unwrap()));
    }
}

fn filler(number: u16) -> FlowKey {
    FlowKey::NONE.with_ports(number, 0)
}

fn is_filler(key: &FlowKey) -> bool {
    key.without_ports() == FlowKey::NONE
}

/// An encapsulated frame without its random identification and the port by a hash; its checksum is right before and
/// after.
fn without_chance(mut frame: Vec<u8>) -> Vec<u8> {
    let is_v4 = frame[12..14] == [0x08, 0x00];
    let port = if is_v4 { 34 } else { 54 };
    assert!(frame[port] >= 0xc0, "a port of {}", frame[port]);
    frame[port..port + 2].fill(0);
    if is_v4 {
        assert_eq!(internet(&[&frame[14..34]]), 0, "checksum of the outer header");
        frame[18..20].fill(0);
        fix_checksum(&mut frame[14..]);
    }
    frame
}

fn amount(case: &Case) -> Counter {
    Counter { packets: case.gso.map_or(1, |gso| u64::from(gso.segments)), bytes: case.frame.len() as u64 }
}

/// Packets and bytes that the table sent into each hook, and into `from_pod` by pod.
#[derive(Default)]
struct Sums {
    hooks: [Counter; Hook::ALL.len()],
    pods: [Counter; PODS.len()],
}

impl Sums {
    fn add(&mut self, case: &Case) {
        add(&mut self.hooks[case.hook as usize], amount(case));
        if case.hook == Hook::FromPod {
            let pod = PODS.iter().position(|pod| *pod == case.pod).unwrap();
            add(&mut self.pods[pod], amount(case));
        }
    }

    fn compare_hooks(&self, stats: &Stats) {
        for hook in Hook::ALL {
            let mut counted = Counter::default();
            for total in stats.totals().unwrap().iter().filter(|total| total.hook == *hook) {
                add(&mut counted, total.counter);
            }
            assert_eq!(counted, self.hooks[*hook as usize], "{hook:?}: in = sum of outcomes");
        }
    }
}

fn compare_pods(node: &Node, sent: &Sums) {
    let interfaces = node.datapath().interfaces().unwrap();
    for (pod, sent) in PODS.iter().zip(sent.pods) {
        let totals = interfaces.counters(node.ifindex(pod.interface)).unwrap().unwrap();
        let mut ends = Counter::default();
        for (_, counter) in &totals.outcomes {
            add(&mut ends, *counter);
        }
        assert_eq!(totals.tx, sent, "pod {}: sent", pod.number);
        assert_eq!(ends, sent, "pod {}: sum of ends", pod.number);
    }
}

fn add(sum: &mut Counter, more: Counter) {
    sum.packets += more.packets;
    sum.bytes += more.bytes;
}
