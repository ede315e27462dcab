//! Streams and datagrams through Services, and ICMP errors about them.

use std::{
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use naru_e2e::probe::{tcp, udp};
use naru_sandbox::kube_proxy::Proxy;

use crate::world::{NODE_PORT, TARGET, Way, World, service};

/// Bytes of a stream each way: enough to lose some if any path were wrong.
const STREAM: u64 = 8 << 20;
/// Small, as large as a packet, in fragments.
const SIZES: [usize; 4] = [1, 1200, 4000, 8000];

/// Client and server, as the lab names them.
pub struct Case {
    pub client: &'static str,
    pub server: &'static str,
    /// The client's address as the server sees it.
    seen_as: &'static str,
}

const fn case(client: &'static str, server: &'static str, seen_as: &'static str) -> Case {
    Case { client, server, seen_as }
}

pub const BY_CLUSTER_IP: [Case; 8] = [
    case("p1-1", "p1-2", "p1-1"),
    case("p1-1", "p2-1", "p1-1"),
    case("p2-1", "p1-1", "p2-1"),
    // A pod that is its own server.
    case("p1-1", "p1-1", "n1"),
    // A server on the host's network: the API server is one.
    case("p1-1", "n2", "p1-1"),
    case("p1-1", "n1", "p1-1"),
    case("n1", "p1-1", "n1"),
    case("n1", "p2-1", "n1"),
];

/// To the port of node n1.
const BY_NODE_PORT: [Case; 6] = [
    case("out", "p1-1", "n1"),
    case("out", "p2-1", "n1"),
    case("p1-2", "p1-1", "n1"),
    case("p1-1", "p1-1", "n1"),
    case("p2-1", "p1-1", "n1"),
    case("p2-1", "p2-1", "n1"),
];

fn everywhere(check: impl Fn(&World, bool)) {
    for way in Way::ALL {
        for proxy in Proxy::ALL {
            let world = World::up(way, proxy);
            [false, true].into_iter().for_each(|v6| check(&world, v6));
        }
    }
}

fn talk(world: &World, v6: bool, case: &Case, at: SocketAddr) {
    let about = || format!("{:?}, {} to {} as {at}", world.proxy, case.client, case.server);
    world.in_front_of(v6, &[case.server]);
    let (client, server) = (world.host(case.client, v6), world.host(case.server, v6));
    let report = tcp::stream_by(&client, at, &server, TARGET, STREAM, STREAM)
        .unwrap_or_else(|error| panic!("{}: {error:#}\n{}", about(), world.describe()));
    assert_eq!(report.peer.ip(), world.host(case.seen_as, v6).address, "{}", about());
    if case.client == "out" {
        // Its fragments are as large as its own link; no router cuts them again, so it has to be told first (RFC
        // 8200, 5).
        let _ = udp::echo_by(&client, at, &server, TARGET, &[4000]);
    }
    udp::echo_by(&client, at, &server, TARGET, &SIZES)
        .unwrap_or_else(|error| panic!("{}: {error:#}\n{}", about(), world.describe()));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn services_answer_from_the_address_that_was_asked() {
    everywhere(|world, v6| BY_CLUSTER_IP.iter().for_each(|case| talk(world, v6, case, service(v6))));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn node_ports_answer_from_outside_and_from_pods_of_either_node() {
    everywhere(|world, v6| {
        let at = SocketAddr::new(world.host("n1", v6).address, NODE_PORT);
        BY_NODE_PORT.iter().for_each(|case| talk(world, v6, case, at));
    });
}

/// Returns true if a datagram to `at`, where nobody listens, comes back as refused.
pub fn is_refused(world: &World, client: &str, at: SocketAddr) -> bool {
    let client = world.host(client, at.is_ipv6());
    let ask = || {
        let socket = UdpSocket::bind((client.address, 0))?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        socket.connect(at)?;
        socket.send(b"anybody?")?;
        Ok(socket.recv(&mut [0; 8]))
    };
    client.netns.run(ask).unwrap().is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_icmp_error_about_a_translated_packet_reaches_who_sent_it() {
    everywhere(|world, v6| {
        for server in ["p1-2", "p2-1", "p1-1", "n2"] {
            world.in_front_of(v6, &[server]);
            assert!(is_refused(world, "p1-1", service(v6)), "{:?}, {server}, {v6}", world.proxy);
            let plain = SocketAddr::new(world.host(server, v6).address, TARGET);
            assert!(is_refused(world, "p1-1", plain), "{:?}, plainly {server}, {v6}", world.proxy);
        }
    });
}
