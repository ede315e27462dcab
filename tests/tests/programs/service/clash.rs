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
