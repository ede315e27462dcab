//! Real packets to a Service of one node.

use std::net::SocketAddr;

use naru_abi::Hook;
use naru_e2e::probe::{tcp, udp};

use super::world::{PORT, Served, TCP, UDP, address};
use crate::{
    node::Node,
    traffic::{LivePod, left},
    world::{A, B, FAMILIES, add_routes},
};

/// The port of the backend.
const TARGET: u16 = 8080;

#[test]
#[ignore = "needs root: cargo xtask test"]
fn streams_and_datagrams_to_a_service_reach_its_pod_and_come_back_from_its_address() {
    let node = Node::new();
    add_routes(&node, |family| family);
    let (a, b) = (LivePod::new(&node, A), LivePod::new(&node, B));
    let datapath = node.datapath();
    for family in FAMILIES {
        let service = address(family, 10);
        let backend = (B.address(family), TARGET);
        let [by_tcp, by_udp] = [TCP, UDP].map(|protocol| Served::new(service, protocol));
        by_tcp.write(&node, &[backend]);
        by_udp.write(&node, &[backend]);
        let at = SocketAddr::new(service, PORT);
        let (client, server) = (a.host(family), b.host(family));
        let report = tcp::stream_by(&client, at, &server, TARGET, 20 << 20, 20 << 20).unwrap();
        assert_eq!(report.peer.ip(), A.address(family), "the backend sees who asks");
        udp::echo_by(&client, at, &server, TARGET, &[1, 100, 1300]).unwrap();
        assert_eq!(by_tcp.counters(&node).translated, 1, "{family:?}");
        assert_eq!(by_udp.counters(&node).translated, 1, "{family:?}");
    }
    assert_eq!(left(&datapath, Hook::FromPod), 0, "the stack saw none of it");
}
