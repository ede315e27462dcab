//! Real packets to a Service of one node.

use std::net::SocketAddr;

use naru_abi::Hook;
use naru_e2e::probe::{tcp, udp};

use super::world::{PORT, Served, TCP, UDP, address};
use crate::{
    node::Node,
    traffic::{LivePod, bind, left},
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

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_answer_in_fragments_comes_from_the_service_with_all_of_them() {
    let node = Node::new();
    add_routes(&node, |family| family);
    let (a, b) = (LivePod::new(&node, A), LivePod::new(&node, B));
    for family in FAMILIES {
        let service = address(family, 10);
        Served::new(service, UDP).write(&node, &[(B.address(family), TARGET)]);
        let server = b.netns().run(|| Ok(bind(B.address(family), TARGET))).unwrap();
        let client = a.netns().run(|| Ok(bind(A.address(family), 0))).unwrap();
        client.connect((service, PORT)).unwrap();
        let sent: Vec<u8> = (0..5000u32).map(|byte| byte as u8).collect();
        let mut received = vec![0; 6000];
        for round in 0..3 {
            client.send(b"much").unwrap();
            let (_, from) = server.recv_from(&mut received).unwrap();
            server.send_to(&sent, from).unwrap();
            // A connected socket takes only what the Service sends.
            assert_eq!(client.recv(&mut received).unwrap(), sent.len(), "{family:?} {round}");
            assert_eq!(received[..sent.len()], sent);
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_refusal_reaches_the_socket_of_the_client_and_that_of_the_backend() {
    let node = Node::new();
    add_routes(&node, |family| family);
    let (a, b) = (LivePod::new(&node, A), LivePod::new(&node, B));
    let refused = |result: std::io::Result<usize>| {
        assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    };
    let mut bytes = [0; 100];
    for family in FAMILIES {
        let service = address(family, 10);
        Served::new(service, UDP).write(&node, &[(B.address(family), TARGET)]);
        let open = || a.netns().run(|| Ok(bind(A.address(family), 0))).unwrap();
        let client = open();
        client.connect((service, PORT)).unwrap();
        client.send(b"nobody is there").unwrap();
        refused(client.recv(&mut bytes));
        let server = b.netns().run(|| Ok(bind(B.address(family), TARGET))).unwrap();
        let client = open();
        client.connect((service, PORT)).unwrap();
        client.send(b"somebody is").unwrap();
        let (_, from) = server.recv_from(&mut bytes).unwrap();
        server.connect(from).unwrap();
        drop(client);
        server.send(b"too late").unwrap();
        refused(server.recv(&mut bytes));
    }
}
