//! ICMP errors about translated packets.

use naru_abi::{Hook, Verdict};

use super::world::{PORT, SYN, Served, TCP, UDP, address, carrying, populated, send, sent, through};
use crate::{
    frames::{Packet, forwarded},
    world::{A, B, FAMILIES, Family, Pod},
};

const CLIENT: u16 = 40_000;
const TARGET: u16 = 8080;

/// Returns a packet as the client sent it and as translated for its backend, both with a TTL or hop limit of 60.
fn both(family: Family, protocol: u16) -> (Packet, Packet) {
    let flags = if protocol == TCP { SYN } else { 0 };
    let sent_so = sent(A, address(family, 10), protocol, (CLIENT, PORT), flags).hops(60);
    let arrived = sent(A, B.address(family), protocol, (CLIENT, TARGET), flags).hops(60);
    (sent_so, arrived)
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn errors_of_backends_and_routers_quote_what_the_client_sent() {
    let node = populated();
    for family in FAMILIES {
        for protocol in [TCP, UDP] {
            Served::new(address(family, 10), protocol).write(&node, &[(B.address(family), TARGET)]);
            let (sent_so, arrived) = both(family, protocol);
            assert_eq!(send(&node, A, &sent_so).0, Verdict::Peer.into());
            for length in [8, 1000] {
                let name = format!("{family:?} {protocol} {length}");
                let back = B.sends(family, A.address(family));
                let (end, frame) = send(&node, B, &back.clone().reporting(&arrived, length));
                assert_eq!(end, Verdict::Peer.into(), "{name}");
                let expected = back.clone().from(address(family, 10)).reporting(&sent_so, length);
                assert_eq!(frame, forwarded(&expected.frame(), A.mac(), A.host_mac()), "{name}");
                // A router's, which the stack brings.
                let mut routers = back.from(family.remote_node());
                (routers.destination_mac, routers.source_mac) = (A.mac(), A.host_mac());
                let about = routers.clone().reporting(&arrived, length);
                let (end, frame) = through(&node, Hook::ToPod, A, &about.frame());
                assert_eq!(end, Verdict::Deliver.into(), "{name}");
                assert_eq!(frame, routers.reporting(&sent_so, length).frame(), "{name}: a router's");
            }
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_clients_error_about_an_answer_reaches_the_backend_that_sent_it() {
    let node = populated();
    for family in FAMILIES {
        Served::new(address(family, 10), UDP).write(&node, &[(B.address(family), TARGET)]);
        assert_eq!(send(&node, A, &both(family, UDP).0).0, Verdict::Peer.into());
        let answer = |from: Pod, source, port| {
            carrying(from.sends(family, A.address(family)).from(source), UDP, (port, CLIENT), 0)
        };
        let received = answer(B, address(family, 10), PORT);
        let refusal = A.sends(family, address(family, 10)).reporting(&received, 1000);
        let (end, frame) = send(&node, A, &refusal);
        assert_eq!(end, Verdict::Peer.into(), "{family:?}");
        let by_backend = answer(B, B.address(family), TARGET);
        let expected = A.sends(family, B.address(family)).reporting(&by_backend, 1000);
        assert_eq!(frame, forwarded(&expected.frame(), B.mac(), B.host_mac()), "{family:?}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_error_about_nothing_that_is_translated_stays_as_it_is() {
    let node = populated();
    for family in FAMILIES {
        Served::new(address(family, 10), UDP).write(&node, &[(B.address(family), TARGET)]);
        assert_eq!(send(&node, A, &both(family, UDP).0).0, Verdict::Peer.into(), "A is a client now");
        let other = sent(A, B.address(family), UDP, (CLIENT + 1, TARGET), 0);
        let about = B.sends(family, A.address(family)).reporting(&other, 1000);
        let (end, frame) = send(&node, B, &about);
        assert_eq!(end, Verdict::Peer.into());
        assert_eq!(frame, forwarded(&about.frame(), A.mac(), A.host_mac()), "{family:?}");
    }
}
