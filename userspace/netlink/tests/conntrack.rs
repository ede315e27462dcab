//! The kernel's connection tracking, in namespaces of the test's own.
#![expect(clippy::unwrap_used, reason = "a failing step of a test ends it")]

mod support;

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use naru_netlink::conntrack::{Conntrack, Tracked, Tuple};
use support::Netns;

/// Client, Service, and the two servers behind it, one at a time.
const FAMILIES: [[&str; 4]; 2] = [
    ["192.0.2.1", "10.96.0.1", "10.1.0.7", "10.1.0.8"],
    ["2001:db8::1", "fd00:96::1", "fd00:1::7", "fd00:1::8"],
];

/// A namespace that translates the Service to the first server, and tracks what it does.
fn node() -> Netns {
    let netns = Netns::new();
    netns.sh("ip link set lo up");
    for [client, service, first, second] in FAMILIES {
        let (bits, family, dnat) =
            if client.contains(':') { (128, "ip6", format!("[{first}]")) } else { (32, "ip", first.into()) };
        for ip in [client, service, first, second] {
            let flags = if bits == 128 { "nodad" } else { "" };
            netns.sh(&format!("ip addr add {ip}/{bits} dev lo {flags}"));
        }
        netns.sh(&format!(
            "nft 'table {family} t {{ chain out {{ type nat hook output priority -100; \
             {family} daddr {service} udp dport 53 dnat to {dnat}:5353; }}; }}'"
        ));
    }
    // The kernel gives an IPv6 address its local route in a work queue, also one that needs no duplicate detection.
    for ip in FAMILIES[1] {
        let is_local = format!("ip -6 route get {ip} | grep -q ^local");
        netns.sh(&format!("for round in $(seq 500); do {is_local} && exit 0; sleep .01; done; exit 1"));
    }
    netns
}

fn socket(ip: &str, port: u16) -> UdpSocket {
    let socket = UdpSocket::bind(SocketAddr::new(ip.parse().unwrap(), port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    socket
}

/// A datagram from the client's port 4000 to `to`, and its answer.
fn ask(client: &UdpSocket, to: (&str, u16), server: &UdpSocket) {
    let mut buffer = [0; 9];
    client.send_to(b"question", SocketAddr::new(to.0.parse().unwrap(), to.1)).unwrap();
    let (_, from) = server.recv_from(&mut buffer).unwrap();
    server.send_to(b"answer", from).unwrap();
    client.recv_from(&mut buffer).unwrap();
}

fn answers(protocol: u8, server: &str, client: &str, ports: (u16, u16)) -> Tuple {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let (source_port, destination_port) = ports;
    Tuple { source: ip(server), destination: ip(client), protocol, source_port, destination_port }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_flow_is_known_by_its_answers_before_they_are_translated_back() {
    let node = node();
    for [client, service, first, second] in FAMILIES {
        node.run(|| {
            ask(&socket(client, 4000), (service, 53), &socket(first, 5353));
            let known = [
                answers(17, first, client, (5353, 4000)),
                answers(17, second, client, (5353, 4000)),
                answers(17, first, client, (5353, 4001)),
                answers(6, first, client, (5353, 4000)),
                answers(47, first, client, (0, 0)),
            ];
            let found = Conntrack::open().unwrap().look_up(&known).unwrap();
            assert_eq!(found, [Tracked::Yes, Tracked::No, Tracked::No, Tracked::No, Tracked::No]);
        });
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn hosts_that_answer_each_other_are_known_both_ways_round() {
    let node = node();
    for [client, service, first, second] in FAMILIES {
        node.run(|| {
            ask(&socket(client, 4000), (service, 53), &socket(first, 5353));
            let pairs = Conntrack::open().unwrap().pairs().unwrap();
            let [client, service, first, second] =
                [client, service, first, second].map(|text| text.parse::<IpAddr>().unwrap());
            assert!(pairs.contains(&[first, client]) && pairs.contains(&[client, first]), "{pairs:?}");
            assert!(!pairs.contains(&[second, client]) && !pairs.contains(&[client, service]), "{pairs:?}");
        });
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_hundred_questions_are_answered_in_their_order() {
    let node = node();
    let [client, service, first, _] = FAMILIES[0];
    node.run(|| {
        ask(&socket(client, 4000), (service, 53), &socket(first, 5353));
        let ports: Vec<u16> = (3950..4050).collect();
        let asked: Vec<Tuple> = ports.iter().map(|port| answers(17, first, client, (5353, *port))).collect();
        let found = Conntrack::open().unwrap().look_up(&asked).unwrap();
        let known: Vec<u16> = ports
            .into_iter()
            .zip(found)
            .filter(|(_, found)| *found == Tracked::Yes)
            .map(|(port, _)| port)
            .collect();
        assert_eq!(known, [4000]);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_echo_is_known_by_its_identifier() {
    let node = node();
    for [client, _, first, _] in FAMILIES {
        // The namespace tracks only what a rule asks it to.
        node.sh(&format!("ping -c 1 -W 2 -e 77 -I {client} {first}"));
        node.run(|| {
            let protocol = if client.contains(':') { 58 } else { 1 };
            let asked = [77, 78].map(|id| answers(protocol, first, client, (id, id)));
            let found = Conntrack::open().unwrap().look_up(&asked).unwrap();
            assert_eq!(found, [Tracked::Yes, Tracked::No]);
        });
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_connection_that_both_ends_closed_is_closed_before_it_is_forgotten() {
    let node = node();
    for [_, _, first, _] in FAMILIES {
        node.run(|| {
            let listener = std::net::TcpListener::bind((first, 8080)).unwrap();
            let stream = std::net::TcpStream::connect((first, 8080)).unwrap();
            let (accepted, from) = listener.accept().unwrap();
            let key = answers(6, first, &from.ip().to_string(), (8080, from.port()));
            let look = || Conntrack::open().unwrap().look_up(&[key]).unwrap();
            assert_eq!(look(), [Tracked::Yes], "{first}");
            drop((stream, accepted));
            // The last packets of the two ends may still be under way.
            let is_closed = || look() == [Tracked::Closed];
            let end = Instant::now() + Duration::from_secs(20);
            while !is_closed() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(10));
            }
            assert!(is_closed(), "{first}");
        });
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_is_forgotten_has_the_address_at_some_end_and_the_rest_stays() {
    let (few, many) = (node(), node());
    for ips in FAMILIES {
        only_what_has_the_address_is_forgotten(&few, ips);
        // More than the kernel's text is looked through for.
        let crowd = |port: u16| drop(socket(ips[3], port).send_to(b"x", (ips[3], 9)));
        many.run(|| (20_000..21_001).for_each(crowd));
        only_what_has_the_address_is_forgotten(&many, ips);
    }
}

fn only_what_has_the_address_is_forgotten(node: &Netns, [client, service, first, second]: [&str; 4]) {
    let (translated, plain) =
        (answers(17, first, client, (5353, 4000)), answers(17, second, client, (9, 4001)));
    let set_up = || {
        ask(&socket(client, 4000), (service, 53), &socket(first, 5353));
        ask(&socket(client, 4001), (second, 9), &socket(second, 9));
    };
    let known = || Conntrack::open().unwrap().look_up(&[translated, plain]).unwrap();
    let forget = |addresses: &[&str]| {
        let addresses: Vec<IpAddr> = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        Conntrack::open().unwrap().forget(&addresses).unwrap();
        known()
    };
    let stays = Tracked::Yes;
    node.run(|| {
        set_up();
        assert_eq!(forget(&[]), [stays, stays]);
        assert_eq!(forget(&["203.0.113.1", "2001:db8:5::1"]), [stays, stays]);
        assert_eq!(forget(&[first]), [Tracked::No, stays]);
        set_up();
        assert_eq!(forget(&[client]), [Tracked::No, Tracked::No]);
        set_up();
        assert_eq!(forget(&[first, second]), [Tracked::No, Tracked::No]);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_is_at_hand_is_forgotten_by_its_answers() {
    let node = node();
    for [client, service, first, second] in FAMILIES {
        let (translated, plain) =
            (answers(17, first, client, (5353, 4000)), answers(17, second, client, (9, 4001)));
        node.run(|| {
            ask(&socket(client, 4000), (service, 53), &socket(first, 5353));
            ask(&socket(client, 4001), (second, 9), &socket(second, 9));
            let mut conntrack = Conntrack::open().unwrap();
            // One that is not there is no error.
            let absent = answers(17, first, client, (5353, 4002));
            conntrack.forget_at_hand(&[], &[absent, translated]).unwrap();
            assert_eq!(conntrack.look_up(&[translated, plain]).unwrap(), [Tracked::No, Tracked::Yes]);
        });
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn flows_of_a_zone_and_pings_are_forgotten_too() {
    let node = node();
    for (zone, [client, _, first, _]) in
        [(0, FAMILIES[0]), (0, FAMILIES[1]), (7, FAMILIES[0]), (7, FAMILIES[1])]
    {
        if zone > 0 {
            node.sh(&format!(
                "nft 'table inet z {{ chain out {{ type filter hook output priority -300; ct zone set {zone}; }}; }}'"
            ));
        }
        node.sh(&format!("ping -c 1 -W 2 -e 77 -I {client} {first}"));
        let known = || {
            let text = std::fs::read_to_string("/proc/thread-self/net/nf_conntrack").unwrap();
            let is_echo = |line: &&str| line.contains(if client.contains(':') { "icmpv6" } else { "icmp " });
            text.lines().filter(is_echo).count()
        };
        node.run(|| {
            assert!(known() > 0, "{client} in zone {zone}");
            Conntrack::open().unwrap().forget(&[first.parse().unwrap()]).unwrap();
            assert_eq!(known(), 0, "{client} in zone {zone}");
        });
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_node_that_tracks_nothing_has_nothing_to_forget() {
    let node = Netns::new();
    let addresses = ["10.0.0.1", "fd00::1"].map(|ip| ip.parse().unwrap());
    node.run(|| Conntrack::open().unwrap().forget(&addresses).unwrap());
}
