//! Flows that differ before they are translated and would be one after it.

use naru_abi::{FlowKey, FlowValue, Verdict};

use super::world::{ACK, PORT, SYN, Served, TCP, UDP, address, carrying, populated, ports, send, sent};
use crate::{
    frames::forwarded,
    world::{A, B, FAMILIES},
};

const CLIENT: u16 = 40_000;
const TARGET: u16 = 8080;

#[test]
#[ignore = "needs root: cargo xtask test"]
fn two_services_on_one_backend_are_told_apart_though_the_client_uses_one_port() {
    let node = populated();
    for family in FAMILIES {
        let backend = (B.address(family), TARGET);
        for (protocol, flags, answer) in [(TCP, SYN, SYN | ACK), (UDP, 0, 0)] {
            let services = [10, 11].map(|number| Served::new(address(family, number), protocol));
            services.iter().for_each(|service| service.write(&node, &[backend]));
            for round in 0..2 {
                let seen = [10, 11].map(|number| {
                    let packet = sent(A, address(family, number), protocol, (CLIENT, PORT), flags);
                    let (end, frame) = send(&node, A, &packet);
                    assert_eq!(end, Verdict::Peer.into());
                    let (client, target) = ports(&frame);
                    assert_eq!(target, TARGET);
                    let as_sent = sent(A, B.address(family), protocol, (client, TARGET), flags);
                    assert_eq!(frame, forwarded(&as_sent.frame(), B.mac(), B.host_mac()));
                    client
                });
                assert!(seen[0] == CLIENT && seen[1] >= 61_000, "{family:?} {protocol} {round}: {seen:?}");
                for (number, client) in [10, 11].into_iter().zip(seen) {
                    let packet = sent(B, A.address(family), protocol, (TARGET, client), answer);
                    let back = B.sends(family, A.address(family)).from(address(family, number));
                    let back = carrying(back, protocol, (PORT, CLIENT), answer);
                    let frame = send(&node, B, &packet).1;
                    assert_eq!(frame, forwarded(&back.frame(), A.mac(), A.host_mac()));
                }
            }
            assert_eq!(services.map(|service| service.counters(&node).clashes), [0, 1]);
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_flow_that_the_stack_translates_to_the_same_backend_keeps_the_port() {
    let node = populated();
    for family in FAMILIES {
        let service = Served::new(address(family, 10), TCP);
        service.write(&node, &[(B.address(family), TARGET)]);
        let answers = FlowKey::between(B.address(family).into(), A.address(family).into(), 6);
        let mut flows = node.datapath().flows().unwrap();
        flows.insert(&answers.with_ports(TARGET, CLIENT), FlowValue { last_seen: 1 }).unwrap();
        let packet = sent(A, address(family, 10), TCP, (CLIENT, PORT), SYN);
        assert!(ports(&send(&node, A, &packet).1).0 >= 61_000, "{family:?}");
        assert_eq!(service.counters(&node).clashes, 1);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_port_in_use_by_a_flow_that_is_over_is_free() {
    let node = populated();
    for family in FAMILIES {
        let services = [10, 11].map(|number| Served::new(address(family, number), TCP));
        services.iter().for_each(|service| service.write(&node, &[(B.address(family), TARGET)]));
        let sends = |number, flags| {
            ports(&send(&node, A, &sent(A, address(family, number), TCP, (CLIENT, PORT), flags)).1).0
        };
        assert_eq!((sends(10, SYN), sends(10, super::world::RST)), (CLIENT, CLIENT));
        assert_eq!(sends(11, SYN), CLIENT, "{family:?}");
        assert_eq!(services.map(|service| service.counters(&node).clashes), [0, 0]);
        assert!(sends(10, SYN) >= 61_000, "the other one has it now");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_connection_straight_to_a_pod_that_was_there_before_stays_and_the_service_gets_another_port() {
    let node = populated();
    for family in FAMILIES {
        let service = Served::new(address(family, 10), TCP);
        service.write(&node, &[(B.address(family), TARGET)]);
        let direct = |flags| sent(A, B.address(family), TCP, (CLIENT, TARGET), flags);
        let unchanged = |from, packet: &crate::frames::Packet, macs: (_, _)| {
            let frame = send(&node, from, packet).1;
            assert_eq!(frame, forwarded(&packet.frame(), macs.0, macs.1), "{family:?}");
        };
        unchanged(A, &direct(SYN), (B.mac(), B.host_mac()));
        unchanged(A, &direct(ACK), (B.mac(), B.host_mac()));
        let opens = sent(A, address(family, 10), TCP, (CLIENT, PORT), SYN);
        assert_eq!(ports(&send(&node, A, &opens).1), (CLIENT, TARGET), "nobody can know yet");
        // The pod says of the SYN that it is none of its connection's.
        let challenge = sent(B, A.address(family), TCP, (TARGET, CLIENT), ACK);
        unchanged(B, &challenge, (A.mac(), A.host_mac()));
        unchanged(B, &challenge, (A.mac(), A.host_mac()));
        unchanged(A, &direct(ACK), (B.mac(), B.host_mac()));
        // Sent again.
        let (client, target) = ports(&send(&node, A, &opens).1);
        assert!(client >= 61_000 && target == TARGET, "{family:?}: {client}");
        let answer = sent(B, A.address(family), TCP, (TARGET, client), SYN | ACK);
        assert_eq!(ports(&send(&node, B, &answer).1), (PORT, CLIENT));
        unchanged(B, &challenge, (A.mac(), A.host_mac()));
        assert_eq!(service.counters(&node).clashes, 1);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_flow_straight_to_a_pod_beside_one_through_a_service_is_seen_from_another_port() {
    let node = populated();
    for family in FAMILIES {
        for (protocol, flags, goes_on, answer) in [(TCP, SYN, ACK, SYN | ACK), (UDP, 0, 0, 0)] {
            let name = format!("{family:?} {protocol}");
            Served::new(address(family, 10), protocol).write(&node, &[(B.address(family), TARGET)]);
            let through = sent(A, address(family, 10), protocol, (CLIENT, PORT), flags);
            assert_eq!(ports(&send(&node, A, &through).1), (CLIENT, TARGET), "{name}");
            let direct = |flags| sent(A, B.address(family), protocol, (CLIENT, TARGET), flags);
            let (client, target) = ports(&send(&node, A, &direct(flags)).1);
            assert!(client >= 61_000 && target == TARGET, "{name}: {client}");
            assert_eq!(ports(&send(&node, A, &direct(goes_on)).1), (client, TARGET), "{name}");
            let answers = |to| sent(B, A.address(family), protocol, (TARGET, to), answer);
            let restored = sent(B, A.address(family), protocol, (TARGET, CLIENT), answer).frame();
            let frame = send(&node, B, &answers(client)).1;
            assert_eq!(frame, forwarded(&restored, A.mac(), A.host_mac()), "{name}: of the direct one");
            let frame = send(&node, B, &answers(CLIENT)).1;
            assert_eq!(ports(&frame), (PORT, CLIENT), "{name}: through the Service");
            // Another port of the pod is nobody's, and goes as it is.
            let other = sent(A, B.address(family), protocol, (CLIENT, TARGET + 1), flags);
            let frame = send(&node, A, &other).1;
            assert_eq!(frame, forwarded(&other.frame(), B.mac(), B.host_mac()), "{name}");
        }
    }
}
