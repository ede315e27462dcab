//! Packets that are translated and packets that are not, each with the frame that leaves.

use std::net::IpAddr;

use naru_abi::{Hook, Outcome, StackReason as Stack, Verdict, service_flags};

use super::world::{
    ACK, FIN, PORT, SCTP, SYN, Served, TCP, UDP, address, populated, ports, send, sent, through,
};
use crate::{
    frames::{Packet, forwarded},
    node::Node,
    world::{A, B, FAMILIES, Family},
};

const CLIENT: u16 = 40_000;
const TARGET: u16 = 8080;
const OPENS: [(u16, u8); 3] = [(TCP, SYN), (UDP, 0), (SCTP, 1)];

fn outcome(node: &Node, packet: &Packet) -> Outcome {
    send(node, A, packet).0
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_packet_to_a_service_leaves_as_if_it_had_been_sent_to_the_backend_and_its_answer_as_if_by_the_service() {
    let node = populated();
    for family in FAMILIES {
        let service = address(family, 10);
        for (protocol, flags) in OPENS {
            let target = if protocol == SCTP { PORT } else { TARGET };
            let served = Served::new(service, protocol);
            served.write(&node, &[(B.address(family), target)]);
            let name = format!("{family:?} {protocol}");
            let (end, frame) = send(&node, A, &sent(A, service, protocol, (CLIENT, PORT), flags));
            assert_eq!(end, Verdict::Peer.into(), "{name}");
            let direct = sent(A, B.address(family), protocol, (CLIENT, target), flags);
            assert_eq!(frame, forwarded(&direct.frame(), B.mac(), B.host_mac()), "{name}: bytes");
            let answer = sent(
                B,
                A.address(family),
                protocol,
                (target, CLIENT),
                if flags == SYN { SYN | ACK } else { 2 },
            );
            let (end, frame) = send(&node, B, &answer);
            assert_eq!(end, Verdict::Peer.into(), "{name}");
            let from_service = super::world::carrying(
                B.sends(family, A.address(family)).from(service),
                protocol,
                (PORT, CLIENT),
                if flags == SYN { SYN | ACK } else { 2 },
            );
            assert_eq!(frame, forwarded(&from_service.frame(), A.mac(), A.host_mac()), "{name}: answer");
            assert_eq!(served.counters(&node).translated, 1, "{name}");
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_the_programs_do_not_do_is_left_to_the_stack_untouched() {
    let node = populated();
    for family in FAMILIES {
        let service = address(family, 10);
        for protocol in [TCP, UDP, SCTP] {
            Served::new(service, protocol).write(&node, &[(B.address(family), TARGET)]);
        }
        let other = address(family, 11);
        for protocol in [TCP, UDP] {
            Served::new(other, protocol).write(&node, &[(A.address(family), TARGET)]);
        }
        let closed = address(family, 12);
        Served::new(closed, TCP).with(service_flags::STACK).write(&node, &[]);
        let left: Vec<(&str, Packet)> = vec![
            ("another port", sent(A, service, TCP, (CLIENT, PORT + 1), SYN)),
            ("another address", sent(A, address(family, 200), TCP, (CLIENT, PORT), SYN)),
            ("the middle of a connection", sent(A, service, TCP, (CLIENT, PORT), ACK)),
            ("the middle of an association", sent(A, service, SCTP, (CLIENT, PORT), 3)),
            ("another port by SCTP", sent(A, service, SCTP, (CLIENT, PORT), 1)),
            ("another protocol", A.sends(family, service).carrying(47, vec![0; 8])),
            ("a first fragment", sent(A, service, UDP, (CLIENT, PORT), 0).fragment(0)),
            ("a later fragment", sent(A, service, UDP, (CLIENT, PORT), 0).fragment(1400)),
            ("options", sent(A, service, UDP, (CLIENT, PORT), 0).extended()),
            ("a pod that meets itself", sent(A, other, TCP, (CLIENT, PORT), SYN)),
            ("one that meets itself by UDP", sent(A, other, UDP, (CLIENT, PORT), 0)),
            ("no endpoints", sent(A, closed, TCP, (CLIENT, PORT), SYN)),
        ];
        for (name, packet) in left {
            let (end, frame) = send(&node, A, &packet);
            assert_eq!((end, frame), (Stack::Outside.into(), packet.frame()), "{family:?}: {name}");
        }
        assert_eq!(node.datapath().translations().unwrap().answers.entries().unwrap(), [], "{family:?}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn new_flows_take_the_stack_once_nobody_vouches_for_the_backends_and_old_ones_go_on() {
    let node = populated();
    let opens = |port| sent(A, address(Family::V4, 10), TCP, (port, PORT), SYN);
    let goes_on = sent(A, address(Family::V4, 10), TCP, (CLIENT, PORT), ACK);
    Served::new(address(Family::V4, 10), TCP).write(&node, &[(B.address(Family::V4), TARGET)]);
    assert_eq!(outcome(&node, &opens(CLIENT)), Verdict::Peer.into());
    let mut maps = node.datapath().services().unwrap();
    let state = maps.state().unwrap();
    maps.set_state(naru_abi::ServiceState { fresh_until: 1, ..state }).unwrap();
    assert_eq!(outcome(&node, &opens(CLIENT + 1)), Stack::Outside.into());
    assert_eq!(outcome(&node, &goes_on), Verdict::Peer.into());
    maps.set_state(naru_abi::ServiceState { on: 0, ..state }).unwrap();
    assert_eq!(outcome(&node, &goes_on), Stack::Outside.into(), "nobody looks");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_backend_may_be_on_another_node_a_node_or_anywhere() {
    let node = populated();
    for family in FAMILIES {
        let ends: [(IpAddr, Outcome); 4] = [
            (family.remote_pod(), Verdict::Tunnel.into()),
            (family.remote_node(), Verdict::Tunnel.into()),
            (family.local_node(), Stack::LocalNode.into()),
            (family.outside(), Stack::Outside.into()),
        ];
        for (number, (backend, expected)) in (20..).zip(ends) {
            let service = address(family, number);
            Served::new(service, TCP).write(&node, &[(backend, TARGET)]);
            let (end, frame) = send(&node, A, &sent(A, service, TCP, (CLIENT, PORT), SYN));
            assert_eq!(end, expected, "{family:?} {backend}");
            let direct = sent(A, backend, TCP, (CLIENT, TARGET), SYN).frame();
            let direct = match expected {
                Outcome::Verdict(_) => forwarded(&direct, A.host_mac(), A.host_mac()),
                _ => direct,
            };
            assert_eq!(frame, direct, "{family:?} {backend}");
        }
        // What the stack brings back is translated, too.
        let answer = sent(B, A.address(family), TCP, (TARGET, CLIENT), SYN | ACK).from(family.outside());
        let answer = super::world::carrying(answer, TCP, (TARGET, CLIENT), SYN | ACK);
        let (end, frame) = through(&node, Hook::ToPod, A, &answer.frame());
        assert_eq!(end, Verdict::Deliver.into());
        let restored = answer.clone().from(address(family, 23));
        let mut restored = super::world::carrying(restored, TCP, (PORT, CLIENT), SYN | ACK);
        (restored.destination_mac, restored.source_mac) = (A.mac(), A.host_mac());
        assert_eq!(frame, restored.frame(), "{family:?}: restored behind the stack");
        assert!(node.datapath().flows().unwrap().entries().unwrap().is_empty(), "no record");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_backend_is_drawn_and_a_flow_stays_with_its_own() {
    let node = populated();
    let family = Family::V4;
    let service = address(family, 10);
    let backends = [8080, 8081, 8082].map(|port| (B.address(family), port));
    Served::new(service, UDP).write(&node, &backends);
    let target = |client| ports(&send(&node, A, &sent(A, service, UDP, (client, PORT), 0)).1).1;
    let first: Vec<u16> = (1000..1060).map(target).collect();
    assert!([8080, 8081, 8082].iter().all(|port| first.contains(port)), "{first:?}");
    assert_eq!((1000..1060).map(target).collect::<Vec<_>>(), first);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_client_stays_with_its_backend_until_that_goes_or_the_time_is_over() {
    let node = populated();
    for family in FAMILIES {
        let service = address(family, 10);
        let backends = [8080, 8081, 8082, 8083].map(|port| (B.address(family), port));
        let served = Served::new(service, TCP).sticking(100);
        served.write(&node, &backends);
        let target = |client| ports(&send(&node, A, &sent(A, service, TCP, (client, PORT), SYN)).1).1;
        let chosen = target(1000);
        assert!((1001..1040).all(|client| target(client) == chosen), "{family:?}");
        // It gets another slot, and stays.
        let mut moved = backends;
        moved.reverse();
        served.write(&node, &moved);
        assert!((1040..1060).all(|client| target(client) == chosen), "{family:?}: another slot");
        let others: Vec<_> = moved.into_iter().filter(|(_, port)| *port != chosen).collect();
        served.write(&node, &others);
        let next = target(1060);
        assert!(next != chosen && (1061..1080).all(|client| target(client) == next), "{family:?}: gone");
        served.write(&node, &moved);
        assert!((1080..1100).all(|client| target(client) == next), "{family:?}: it stays there");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_port_that_is_used_again_begins_anew_and_a_repeated_syn_does_not() {
    let node = populated();
    for family in FAMILIES {
        let service = address(family, 10);
        let served = Served::new(service, TCP);
        let (one, other) = ((B.address(family), 8080), (B.address(family), 8081));
        let sends = |flags| ports(&send(&node, A, &sent(A, service, TCP, (CLIENT, PORT), flags)).1).1;
        let answers = |from, flags| {
            let answer = sent(B, A.address(family), TCP, (from, CLIENT), flags);
            ports(&send(&node, B, &answer).1).0
        };
        served.write(&node, &[one]);
        assert_eq!((sends(SYN), answers(8080, SYN | ACK)), (8080, PORT));
        served.write(&node, &[other]);
        assert_eq!(sends(SYN), 8080, "{family:?}: the answer may have been lost");
        assert_eq!((sends(FIN | ACK), answers(8080, FIN | ACK), sends(ACK)), (8080, PORT, 8080));
        assert_eq!((sends(SYN), answers(8081, SYN | ACK)), (8081, PORT), "{family:?}: another connection");
        assert_eq!(answers(8080, ACK), 8080, "{family:?}: what is late of the old one is not the new one's");
        assert_eq!(sends(ACK), 8081);
        // Reset by the backend.
        assert_eq!(answers(8081, super::world::RST | ACK), PORT);
        served.write(&node, &[one]);
        assert_eq!(sends(SYN), 8080);
        // Never answered, and the backend is gone.
        served.write(&node, &[other]);
        assert_eq!(sends(SYN), 8081, "{family:?}: a SYN that was not answered goes to one that is there");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_datagram_that_is_left_to_the_stack_while_user_space_looks_stays_there() {
    let node = populated();
    let (family, service) = (Family::V6, address(Family::V6, 10));
    let served = Served::new(service, UDP);
    let backends = [(B.address(family), TARGET)];
    served.with(service_flags::LEARN).write(&node, &backends);
    let packet = |client| sent(A, service, UDP, (client, PORT), 0);
    assert_eq!(outcome(&node, &packet(1000)), Stack::Outside.into());
    served.write(&node, &backends);
    assert_eq!(outcome(&node, &packet(1000)), Stack::Outside.into());
    assert_eq!(outcome(&node, &packet(1001)), Verdict::Peer.into());
}
