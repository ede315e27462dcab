//! Tables of Services as user space writes them, under packets.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use naru_core::services::{Backend, Frontend, Protocol, Reason, Table, Translation};
use naru_e2e::{probe::tcp, tool};
use naru_node::{paths::Paths, services};

use super::world::{PORT, SYN, TCP, UDP, address, populated, send, sent};
use crate::{
    frames::Packet,
    node::Node,
    traffic::{LivePod, bind, text},
    world::{A, B, FAMILIES, Family, add_routes},
};

const TARGET: u16 = 8080;

fn paths(node: &Node) -> Paths {
    let bpf = node.pins.root().parent().unwrap().to_owned();
    Paths { bpf, ..Paths::under(Path::new("/nonexistent")) }
}

/// Wanted state of a frontend: backends for new flows, others that serve, the reason for the stack and the affinity.
#[derive(Clone, Default)]
struct Wanted {
    chosen: Vec<Backend>,
    kept: Vec<Backend>,
    stack: Option<Reason>,
    affinity: Option<u32>,
}

fn backends(address: IpAddr, ports: &[u16]) -> Vec<Backend> {
    ports.iter().map(|port| Backend { address, port: *port }).collect()
}

fn apply(node: &Node, wanted: &[(IpAddr, Protocol, Wanted)]) -> usize {
    let frontends = wanted.iter().map(|(address, protocol, one)| {
        let Wanted { chosen, kept, stack, affinity } = one.clone();
        let translation = Translation { chosen, kept, affinity, stack, ..Translation::default() };
        (Frontend { address: *address, port: PORT, protocol: *protocol }, translation)
    });
    let table = Table { frontends: frontends.collect(), ..Table::default() };
    let paths = paths(node);
    node.run(|| {
        let writes = services::apply(&paths, &table).unwrap();
        services::refresh(&paths, Duration::ZERO).unwrap();
        writes
    })
}

fn served(address: IpAddr, ports: &[u16]) -> Wanted {
    Wanted { chosen: backends(address, ports), ..Wanted::default() }
}

/// The port of the backend that a packet of A goes to; `None` where the stack has it.
fn target(node: &Node, packet: &Packet) -> Option<u16> {
    let (_, frame) = send(node, A, packet);
    Some(super::world::ports(&frame).1).filter(|port| *port != PORT)
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn flows_of_datagrams_leave_a_backend_that_went_and_connections_stay() {
    let node = populated();
    for family in FAMILIES {
        let (service, pod) = (address(family, 10), B.address(family));
        let of =
            |one: &Wanted| [(service, Protocol::Tcp, one.clone()), (service, Protocol::Udp, one.clone())];
        let datagram = sent(A, service, UDP, (4000, PORT), 0);
        let (opens, goes_on) =
            (sent(A, service, TCP, (4000, PORT), SYN), sent(A, service, TCP, (4000, PORT), 16));
        let all = |port| {
            assert_eq!(target(&node, &datagram), Some(port), "{family:?}");
            assert_eq!(target(&node, &goes_on), Some(8080), "{family:?}");
        };
        apply(&node, &of(&served(pod, &[8080])));
        assert_eq!(target(&node, &opens), Some(8080));
        all(8080);
        // It serves what it has, and gets nothing new.
        let kept = Wanted { kept: backends(pod, &[8080]), ..served(pod, &[8081]) };
        apply(&node, &of(&kept));
        all(8080);
        assert_eq!(target(&node, &sent(A, service, UDP, (4001, PORT), 0)), Some(8081));
        apply(&node, &of(&served(pod, &[8081])));
        all(8081);
        // Nobody is there any more: the stack refuses.
        let nobody = Wanted { stack: Some(Reason::NoEndpoints), ..Wanted::default() };
        apply(&node, &of(&nobody));
        assert_eq!((target(&node, &datagram), target(&node, &goes_on)), (None, Some(8080)));
        apply(&node, &of(&served(pod, &[8082])));
        all(8082);
        // Switched off, what is there goes on.
        let off =
            Wanted { stack: Some(Reason::SwitchedOff), kept: backends(pod, &[8082]), ..Wanted::default() };
        apply(&node, &of(&off));
        all(8082);
        assert_eq!(target(&node, &sent(A, service, UDP, (4002, PORT), 0)), None);
        // The Service is gone, its connections are not.
        apply(&node, &[]);
        assert_eq!((target(&node, &datagram), target(&node, &goes_on)), (None, Some(8080)));
        let maps = node.datapath().services().unwrap();
        assert!(maps.services.entries().unwrap().is_empty() && maps.backends.entries().unwrap().is_empty());
        // The last connection ends, and with it the look-up.
        assert_eq!(target(&node, &sent(A, service, TCP, (4000, PORT), 4)), Some(8080));
        forget_all(&node);
        apply(&node, &[]);
        assert_eq!(node.datapath().services().unwrap().state().unwrap().on, 0);
    }
}

fn forget_all(node: &Node) {
    let mut maps = node.datapath().translations().unwrap();
    for (key, _) in maps.flows.entries().unwrap() {
        maps.flows.delete(&key).unwrap();
    }
    for (key, _) in maps.answers.entries().unwrap() {
        maps.answers.delete(&key).unwrap();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn one_endpoint_of_a_thousand_is_three_writes_and_the_same_again_is_none() {
    let node = Node::new();
    let (service, pod) = (address(Family::V4, 10), B.address(Family::V4));
    let ports: Vec<u16> = (1000..2000).collect();
    let of = |ports: &[u16]| [(service, Protocol::Tcp, served(pod, ports))];
    assert!(apply(&node, &of(&ports)) >= 1000);
    assert_eq!(apply(&node, &of(&ports)), 0);
    let others: Vec<u16> = ports.iter().copied().filter(|port| *port != 1500).collect();
    assert!(apply(&node, &of(&others)) <= 3);
    assert!(apply(&node, &of(&ports)) <= 2);
    let sticks = [(service, Protocol::Tcp, Wanted { affinity: Some(10), ..served(pod, &others) })];
    apply(&node, &sticks);
    assert_eq!(node.datapath().services().unwrap().members.entries().unwrap().len(), 999);
    apply(&node, &of(&ports));
    assert!(node.datapath().services().unwrap().members.entries().unwrap().is_empty());
}

/// Answers each datagram with the number of the port that it came to.
fn say_port(pod: &LivePod, address: IpAddr, port: u16, done: &AtomicBool) {
    let socket = pod.netns().run(|| Ok(bind(address, port))).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut bytes = [0; 16];
    while !done.load(Ordering::Relaxed) {
        if let Ok((_, from)) = socket.recv_from(&mut bytes) {
            let _ = socket.send_to(&port.to_be_bytes(), from);
        }
    }
}

fn ask(socket: &UdpSocket) -> u16 {
    let mut bytes = [0; 2];
    socket.send(b"which").unwrap();
    assert_eq!(socket.recv(&mut bytes).unwrap(), 2);
    u16::from_be_bytes(bytes)
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn endpoints_churn_under_streams_and_no_packet_goes_to_one_that_went() {
    const PORTS: [u16; 5] = [8080, 8081, 8082, 8083, 8084];
    let node = Node::new();
    add_routes(&node, |family| family);
    let (a, b) = (LivePod::new(&node, A), LivePod::new(&node, B));
    for family in FAMILIES {
        let (service, pod) = (address(family, 10), B.address(family));
        let of = |ports: &[u16]| {
            [
                (service, Protocol::Udp, served(pod, ports)),
                (service, Protocol::Tcp, served(pod, &[&[TARGET], &ports[..1]].concat())),
            ]
        };
        apply(&node, &[(service, Protocol::Tcp, served(pod, &[TARGET]))]);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for port in PORTS {
                let (b, done) = (&b, &done);
                scope.spawn(move || say_port(b, pod, port, done));
            }
            let (client, server) = (a.host(family), b.host(family));
            let at = SocketAddr::new(service, PORT);
            let stream =
                scope.spawn(move || tcp::stream_by(&client, at, &server, TARGET, 256 << 20, 256 << 20));
            let open = || {
                let socket = a.netns().run(|| Ok(bind(A.address(family), 0))).unwrap();
                socket.connect(at).unwrap();
                socket
            };
            thread::sleep(Duration::from_millis(200));
            let lasting = open();
            let mut last = 0;
            for round in 0..200usize {
                let chosen: Vec<u16> = PORTS
                    .into_iter()
                    .enumerate()
                    .filter(|(at, _)| (round * 7 + at * round) % 3 != 1)
                    .map(|(_, port)| port)
                    .collect();
                let chosen = if chosen.is_empty() { vec![PORTS[round % 5]] } else { chosen };
                apply(&node, &of(&chosen));
                let answered = ask(&lasting);
                assert!(chosen.contains(&answered), "{family:?} {round}: {answered} of {chosen:?}");
                assert!(
                    answered == last || !chosen.contains(&last),
                    "{family:?} {round}: moved without need"
                );
                last = answered;
                let answered = ask(&open());
                assert!(chosen.contains(&answered), "{family:?} {round}: {answered} of {chosen:?}");
            }
            done.store(true, Ordering::Relaxed);
            stream.join().unwrap().unwrap();
        });
        apply(&node, &[]);
    }
}

/// As kube-proxy: the node's stack translates datagrams to the Service to port 8081 of the pod.
fn by_stack(node: &Node, table: &str, service: IpAddr, pod: IpAddr) {
    for rule in [
        format!("add table {table} t"),
        format!("add chain {table} t c {{ type nat hook prerouting priority -100; }}"),
        format!(
            "add rule {table} t c {table} daddr {service} udp dport {PORT} dnat to {}",
            SocketAddr::new(pod, 8081)
        ),
    ] {
        node.run(|| {
            let done = std::process::Command::new("nft").arg(&rule).output().unwrap();
            assert!(done.status.success(), "{rule}: {}", String::from_utf8_lossy(&done.stderr));
        });
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_datagram_flow_that_the_stack_translates_stays_with_it_when_the_programs_begin() {
    let node = Node::new();
    add_routes(&node, |family| family);
    let (a, b) = (LivePod::new(&node, A), LivePod::new(&node, B));
    for setting in ["ipv4.ip_forward=1", "ipv6.conf.all.forwarding=1"] {
        tool::run(node.netns(), &format!("sysctl -qw net.{setting}")).unwrap();
    }
    for family in FAMILIES {
        let (service, pod) = (address(family, 10), B.address(family));
        let table = if family == Family::V4 { "ip" } else { "ip6" };
        for (pod, mac) in [(A, A.mac()), (B, B.mac())] {
            let (held, mac) = (pod.address(family), text(mac));
            node.ip(&format!("route add {held} dev {}", pod.interface));
            node.ip(&format!("neigh replace {held} lladdr {mac} dev {} nud permanent", pod.interface));
        }
        by_stack(&node, table, service, pod);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for port in [8080, 8081] {
                let (b, done) = (&b, &done);
                scope.spawn(move || say_port(b, pod, port, done));
            }
            thread::sleep(Duration::from_millis(200));
            let open = || {
                let socket = a.netns().run(|| Ok(bind(A.address(family), 0))).unwrap();
                socket.connect((service, PORT)).unwrap();
                socket
            };
            let before = open();
            assert_eq!(ask(&before), 8081, "{family:?}: the stack's");
            apply(&node, &[(service, Protocol::Udp, served(pod, &[8080]))]);
            assert_eq!(ask(&before), 8081, "{family:?}: it stays there");
            assert_eq!(ask(&open()), 8080, "{family:?}: a new one is the programs'");
            // Off and on again, neither moves.
            let own = open();
            assert_eq!(ask(&own), 8080);
            let off = Wanted {
                stack: Some(Reason::SwitchedOff),
                kept: backends(pod, &[8080]),
                ..Wanted::default()
            };
            apply(&node, &[(service, Protocol::Udp, off)]);
            let during = open();
            assert_eq!([ask(&before), ask(&own), ask(&during)], [8081, 8080, 8081], "{family:?}");
            apply(&node, &[(service, Protocol::Udp, served(pod, &[8080]))]);
            assert_eq!([ask(&before), ask(&own), ask(&during)], [8081, 8080, 8081], "{family:?}");
            done.store(true, Ordering::Relaxed);
        });
        apply(&node, &[]);
    }
}
