//! The part of the table about flows that the stack translates: packets that leave a record, and packets that a record
//! sends to the stack.

use naru_abi::{
    DropReason as Drop, FlowKey,
    Hook::{FromPod, FromUnderlay, ToOverlay, ToPod, ToUnderlay},
    Outcome, StackReason as Stack, Verdict,
    features::{DIRECT, OWN_ENCAPSULATION},
};
use naru_e2e::wire::ip;

use crate::{
    cases::{Case, from_pod, to_peer, to_tunnel},
    frames::Packet,
    uplink::around,
    world::{A, B, BY_STACK, Family, Pod},
};

/// Ports of the packets that [`Pod::sends`].
const PORTS: (u16, u16) = (12_345, 53);
const UDP: u8 = ip::UDP;
const TCP: u8 = 6;

/// The key of `packet` in its own direction.
fn key(packet: &Packet, protocol: u8, ports: (u16, u16)) -> FlowKey {
    FlowKey::between(packet.source.into(), packet.destination.into(), protocol).with_ports(ports.0, ports.1)
}

/// Records of a translated packet: its answers, and their fragments.
fn answers(packet: &Packet, protocol: u8, ports: (u16, u16)) -> [FlowKey; 2] {
    let key = key(packet, protocol, ports).reversed();
    [key, key.without_ports()]
}

/// Records of a translated packet where there is no room for its flow: its hosts, both ways.
fn hosts(packet: &Packet, protocol: u8) -> [FlowKey; 2] {
    let answers = key(packet, protocol, (0, 0)).reversed();
    [answers, answers.reversed()]
}

fn tcp(packet: &Packet) -> Packet {
    let mut payload = vec![0; 20];
    payload[..4].copy_from_slice(&[0x30, 0x39, 0, 53]);
    payload[12] = 5 << 4;
    packet.clone().carrying(TCP, payload)
}

fn icmp(family: Family) -> u8 {
    if family == Family::V4 { 1 } else { ip::ICMPV6 }
}

/// An echo request, identifier 0x0709.
fn echo(family: Family, packet: &Packet) -> Packet {
    let kind = if family == Family::V4 { 8 } else { 128 };
    packet.clone().carrying(icmp(family), vec![kind, 0, 0, 0, 7, 9, 0, 1])
}

/// `packet` as an ICMP error about `about`.
fn error(family: Family, packet: &Packet, about: &Packet) -> Packet {
    let kind = if family == Family::V4 { 3 } else { 1 };
    let message = [&[kind, 3, 0, 0, 0, 0, 0, 0][..], &about.frame()[14..]].concat();
    packet.clone().carrying(icmp(family), message)
}

pub fn cases(family: Family) -> Vec<Case> {
    let by_flow =
        [to_pod(family), to_overlay(family), uplink(family), answered(family), not_answered(family)];
    [by_flow.concat(), paired(family), answered_by_pair(family)].concat()
}

/// Packets that reach other nodes without the tunnel device.
fn uplink(family: Family) -> Vec<Case> {
    let leaves = |name, packet: &Packet| Case::new(name, ToUnderlay, A, packet.frame(), Verdict::Deliver);
    let near = A.sends(family, family.pick("10.4.0.9", "fd00:4::9"));
    let host = A.sends(family, family.pick("192.0.2.4", "2001:db8::4"));
    let records = answers(&near, UDP, PORTS);
    let full = leaves("a new flow without the tunnel, and no room", &near).full(&[]);
    let back = A.sends(family, A.address(family)).from(family.remote_pod());
    let known = [key(&back, UDP, PORTS)];
    let nodes = [family.remote_node(), family.local_node()];
    let comes = |name, frame| Case::new(name, FromUnderlay, A, frame, Stack::RecordedFlow).knows(&known);
    vec![
        leaves("to a pod without the tunnel, translated", &near).records(&records),
        leaves("to a node without the tunnel, translated", &host).records(&answers(&host, UDP, PORTS)),
        leaves("masqueraded, without the tunnel", &near.clone().from(family.local_node())),
        leaves("to the outside", &near.clone().to(family.outside())),
        leaves("an old flow without the tunnel, and no room", &near).full(&records),
        Case { outcome: Drop::FlowTableFull.into(), ..full },
        comes("an answer without the tunnel", back.frame()).with(DIRECT),
        comes("an answer in the tunnel", around(&back.frame(), A, family, nodes)).with(OWN_ENCAPSULATION),
    ]
}

/// The stack sends `packet` to B, whose MAC address it knows.
fn by_stack(name: &str, mut packet: Packet, receiver: Pod) -> Case {
    packet.destination_mac = receiver.mac();
    Case::new(name, ToPod, receiver, packet.frame(), Verdict::Deliver)
}

fn to_pod(family: Family) -> Vec<Case> {
    let from_a = A.sends(family, B.address(family));
    let from = |source| from_a.clone().from(source);
    let far = from(family.remote_pod());
    let host = from(family.remote_node());
    let gre = from_a.clone().carrying(47, vec![0; 8]);
    let full = by_stack("a new flow, and no room", from_a.clone(), B).full(&[]);
    let half = by_stack("a new flow, and room for half of it", from_a.clone(), B).full(&[]).with_room(1);
    let old = answers(&from_a, UDP, PORTS);
    vec![
        by_stack("a pod's, translated", from_a.clone(), B).records(&old),
        by_stack("a remote pod's, translated", far.clone(), B).records(&answers(&far, UDP, PORTS)),
        by_stack("a remote node's, translated", host.clone(), B).records(&answers(&host, UDP, PORTS)),
        by_stack("TCP, translated", tcp(&from_a), B).records(&answers(&from_a, TCP, PORTS)),
        by_stack("SCTP, translated", from_a.clone().carrying(132, vec![0x30, 0x39, 0, 53]), B)
            .records(&answers(&from_a, 132, PORTS)),
        by_stack("an echo, translated", echo(family, &from_a), B).records(&answers(
            &from_a,
            icmp(family),
            (0x0709, 0x0709),
        )),
        by_stack("GRE, translated", gre, B).records(&[key(&from_a, 47, (0, 0)).reversed()]),
        by_stack("a first fragment, translated", from_a.clone().fragment(0), B).records(&old),
        by_stack("a later fragment, translated", from_a.clone().fragment(1400), B).records(&old[1..]),
        by_stack("one more of a flow", from_a.clone(), B).knows(&old),
        by_stack("the own node's", from(family.local_node()), B),
        by_stack("one from outside", from(family.outside()), B),
        by_stack("an address that no pod holds", from(family.unassigned()), B),
        by_stack("from a pod without the shortcut", from(BY_STACK.address(family)), B),
        by_stack("to a pod without the shortcut", from_a.clone().to(BY_STACK.address(family)), BY_STACK),
        by_stack("an ICMP error", error(family, &from_a, &from_a), B),
        Case { outcome: Drop::FlowTableFull.into(), ..full },
        // Half of a record would let the flow's next packet pass, and its answers' fragments miss the stack.
        Case { outcome: Drop::FlowTableFull.into(), ..half },
        by_stack("a new flow, and room for it", from_a.clone(), B).with_room(2).records(&old),
        by_stack("an old flow, and no room", from_a.clone(), B).full(&old),
        by_stack("an old flow without its entry for fragments, and no room", from_a, B).full(&old[..1]),
    ]
}

fn to_overlay(family: Family) -> Vec<Case> {
    let to_far = A.sends(family, family.remote_pod());
    let case =
        |name, packet: &Packet, outcome: Outcome| Case::new(name, ToOverlay, A, packet.frame(), outcome);
    let tunnel = || Verdict::Tunnel.into();
    let records = answers(&to_far, UDP, PORTS);
    let to_host = to_far.clone().to(family.remote_node());
    let by_stack = to_far.clone().from(BY_STACK.address(family));
    vec![
        case("to a remote pod, translated", &to_far, tunnel()).records(&records),
        case("to a remote node, translated", &to_host, tunnel()).records(&answers(&to_host, UDP, PORTS)),
        case("a later fragment to a remote pod", &to_far.clone().fragment(1400), tunnel())
            .records(&records[1..]),
        case("masqueraded, to a remote pod", &to_far.clone().from(family.local_node()), tunnel()),
        case("to a remote pod, without the shortcut", &by_stack, tunnel()),
        case("an ICMP error to a remote pod", &error(family, &to_far, &to_far), tunnel()),
        case("a new flow to a remote pod, and no room", &to_far, Drop::FlowTableFull.into()).full(&[]),
        case("an old flow to a remote pod, and no room", &to_far, tunnel()).full(&records),
    ]
}

/// Flows that there is no room for: neither refused, nor is another forgotten for them.
fn paired(family: Family) -> Vec<Case> {
    let from_a = A.sends(family, B.address(family));
    let far = from_a.clone().from(family.remote_pod());
    let (to_far, near) =
        (A.sends(family, family.remote_pod()), A.sends(family, family.pick("10.4.0.9", "fd00:4::9")));
    let to_pod = |name: &str, packet: &Packet, protocol: u8| {
        by_stack(name, packet.clone(), B).with_room(0).pairs(&hosts(packet, protocol))
    };
    let out = |name: &str, hook, packet: &Packet, end: Verdict| {
        Case::new(name, hook, A, packet.frame(), end).with_room(0).pairs(&hosts(packet, UDP))
    };
    let gre = from_a.clone().carrying(47, vec![0; 8]);
    vec![
        to_pod("a pod's, by its hosts", &from_a, UDP),
        to_pod("a remote pod's, by its hosts", &far, UDP),
        to_pod("TCP, by its hosts", &tcp(&from_a), TCP),
        to_pod("an echo, by its hosts", &echo(family, &from_a), icmp(family)),
        to_pod("GRE, by its hosts", &gre, 47),
        to_pod("a later fragment, by its hosts", &from_a.clone().fragment(1400), UDP),
        to_pod("room for half of it, by its hosts", &from_a, UDP).with_room(1),
        to_pod("one more, of hosts that are known", &from_a, UDP)
            .knows_pairs(&hosts(&from_a, UDP))
            .pairs(&hosts(&from_a, UDP)),
        out("to a remote pod, by its hosts", ToOverlay, &to_far, Verdict::Tunnel),
        out("without the tunnel, by its hosts", ToUnderlay, &near, Verdict::Deliver),
    ]
}

/// Packets between hosts that are recorded as a pair.
fn answered_by_pair(family: Family) -> Vec<Case> {
    let to_b = A.sends(family, B.address(family));
    let (to_far, back) = (A.sends(family, family.remote_pod()), B.sends(family, A.address(family)));
    let up = |name, packet: &Packet, known: &[FlowKey]| {
        from_pod(name, packet, Stack::RecordedFlow).knows_pairs(known)
    };
    let pair = hosts(&to_b, UDP);
    vec![
        up("UDP of a pair, one way", &to_b, &pair),
        up("UDP of a pair, the other way", &to_b, &hosts(&back, UDP)),
        up("UDP of a pair, another port", &to_b.clone().udp(54), &pair),
        up("a fragment of a pair", &to_b.clone().fragment(1400), &pair),
        up("TCP of a pair", &tcp(&to_b), &hosts(&to_b, TCP)),
        up("an echo of a pair", &echo(family, &to_b), &hosts(&to_b, icmp(family))),
        up("to a remote pod, of a pair", &to_far, &hosts(&to_far, UDP)),
        up("an ICMP error about a pair", &error(family, &to_b, &back), &pair),
        up("a recorded flow of a pair", &to_b, &pair).knows(&[key(&to_b, UDP, PORTS)]),
        to_peer("another protocol than the pair's", &tcp(&to_b)).knows_pairs(&pair),
        to_tunnel("another host than the pair's", &to_far).knows_pairs(&pair),
    ]
}

/// Packets that a record sends to the stack.
fn answered(family: Family) -> Vec<Case> {
    let to_b = A.sends(family, B.address(family));
    let to_far = A.sends(family, family.remote_pod());
    let to_host = A.sends(family, family.remote_node());
    let up =
        |name, packet: &Packet, known: FlowKey| from_pod(name, packet, Stack::RecordedFlow).knows(&[known]);
    let udp = key(&to_b, UDP, PORTS);
    let back = B.sends(family, A.address(family));
    vec![
        up("UDP of a recorded flow", &to_b, udp),
        up("TCP of a recorded flow", &tcp(&to_b), key(&to_b, TCP, PORTS)),
        up("an echo of a recorded flow", &echo(family, &to_b), key(&to_b, icmp(family), (0x0709, 0x0709))),
        up("GRE of a recorded flow", &to_b.clone().carrying(47, vec![0; 8]), key(&to_b, 47, (0, 0))),
        up("a first fragment where there is a recorded flow", &to_b.clone().fragment(0), udp.without_ports()),
        up(
            "a later fragment where there is a recorded flow",
            &to_b.clone().fragment(1400),
            udp.without_ports(),
        ),
        up("a recorded flow to a remote pod", &to_far, key(&to_far, UDP, PORTS)),
        up("a recorded flow to a remote node", &to_host, key(&to_host, UDP, PORTS)),
        up(
            "an ICMP error about a recorded flow",
            &error(family, &to_b, &back),
            key(&back, UDP, PORTS).reversed(),
        ),
        up(
            "an ICMP error about a fragment where there is a recorded flow",
            &error(family, &to_b, &back.clone().fragment(1400)),
            key(&back, UDP, (0, 0)).reversed(),
        ),
        from_pod("a recorded flow, the last hop", &to_b.hops(1), Stack::TtlExpired).knows(&[udp]),
    ]
}

/// Packets that no record concerns, though there is one.
fn not_answered(family: Family) -> Vec<Case> {
    let to_b = A.sends(family, B.address(family));
    let udp = key(&to_b, UDP, PORTS);
    let back = B.sends(family, A.address(family));
    let as_known = |case: Case, known: FlowKey| case.knows(&[known]);
    vec![
        as_known(to_peer("another port", &to_b.clone().udp(54)), udp),
        as_known(to_peer("another protocol", &tcp(&to_b)), udp),
        as_known(to_peer("the other direction", &to_b), udp.reversed()),
        as_known(to_peer("a whole packet of another flow", &to_b), udp.without_ports()),
        as_known(to_peer("a fragment beside a flow", &to_b.clone().fragment(1400)), udp),
        as_known(to_peer("another echo", &echo(family, &to_b)), key(&to_b, icmp(family), (1, 1))),
        as_known(to_peer("an ICMP error about another flow", &error(family, &to_b, &back.udp(54))), udp),
        as_known(to_tunnel("a remote pod's other flow", &A.sends(family, family.remote_pod())), udp),
        Case::new(
            "a pod without the shortcut has no records",
            FromPod,
            BY_STACK,
            BY_STACK.sends(family, B.address(family)).frame(),
            Stack::NoShortcut,
        ),
    ]
}
