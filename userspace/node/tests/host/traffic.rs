//! The effects of the table on packets: a pod behind a `naru*` device, its node, and a host outside.

use naru_node::machine::MARKS;
use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::{FromRawFd, OwnedFd},
    time::Duration,
};

use naru_netlink::links::{Links, Mac, PairSpec};
use naru_node::host::firewall::{self, FORWARDED, Firewall, INVALID_TO_OUTSIDE, TUNNEL_ELSEWHERE, Tunnel};

use super::scene::{Netns, firewall};

/// Addresses of pod, node and outside host, and the outside's prefix.
const FAMILIES: [[&str; 4]; 2] = [
    ["10.32.0.5", "203.0.113.1", "203.0.113.9", "203.0.113.0/24"],
    ["fd10:32::5", "2001:db8:f::1", "2001:db8:f::9", "2001:db8:f::/64"],
];

struct Scene {
    node: Netns,
    pod: Netns,
    outside: Netns,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { node: Netns::new(), pod: Netns::new(), outside: Netns::new() };
        let (host_mac, pod_mac) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        scene.node.run(|| {
            let links = Links::open(MARKS).unwrap();
            for (host_name, peer) in [("naruaa", &scene.pod), ("up0", &scene.outside)] {
                let pair =
                    PairSpec { host_name, host_mac, alias: "naru1:t", pod_name: "eth0", pod_mac, mtu: 1500 };
                links.create_pair(&pair, peer.fd()).unwrap();
            }
        });
        let add = |dev: &str, v4: &str, v6: &str| {
            format!("ip link set {dev} up; ip addr add {v4} dev {dev}; ip addr add {v6} dev {dev} nodad")
        };
        scene.node.sh(&add("naruaa", "10.32.0.1/24", "fd10:32::1/112"));
        scene.node.sh(&add("up0", "203.0.113.1/24", "2001:db8:f::1/64"));
        scene.node.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        scene.outside.sh(&add("eth0", "203.0.113.9/24", "2001:db8:f::9/64"));
        scene.pod.sh(&add("eth0", "10.32.0.5/24", "fd10:32::5/112"));
        scene.pod.sh("ip route add default via 10.32.0.1; ip route add default via fd10:32::1");
        scene.wait_for_links();
        scene
    }

    /// The kernel activates a new pair's transmit queues from a work queue.
    fn wait_for_links(&self) {
        for (netns, peers) in
            [(&self.pod, ["10.32.0.1", "fd10:32::1"]), (&self.node, ["203.0.113.9", "2001:db8:f::9"])]
        {
            for peer in peers {
                netns.sh(&format!(
                    "for i in $(seq 50); do ping -q -c 1 -W 0.1 {peer} >/dev/null && exit 0; done; exit 1"
                ));
            }
        }
    }

    /// The source the outside host sees of a datagram from the pod.
    fn seen_from(&self, [pod, _, outside, _]: [&str; 4]) -> IpAddr {
        let server = self.outside.run(|| UdpSocket::bind((outside, 0)).unwrap());
        server.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let to = server.local_addr().unwrap();
        self.pod.run(|| UdpSocket::bind((pod, 0)).unwrap().send_to(b"x", to).unwrap());
        server.recv_from(&mut [0; 8]).unwrap().1.ip()
    }

    fn packets(&self, counter: &str) -> u64 {
        self.node.run(|| firewall::counters().unwrap().unwrap()[counter].packets)
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_outside_sees_the_node_unless_it_is_listed_as_direct() {
    let scene = Scene::new();
    scene.node.run(|| firewall::apply(&firewall()).unwrap());
    for family in FAMILIES {
        assert_eq!(scene.seen_from(family), family[1].parse::<IpAddr>().unwrap());
    }
    assert_eq!(scene.packets(FORWARDED), 2);
    let mut listed = firewall();
    listed.direct.extend(FAMILIES.map(|family| family[3].parse::<ipnet::IpNet>().unwrap()));
    scene.node.run(|| firewall::apply(&listed).unwrap());
    for family in FAMILIES {
        assert_eq!(scene.seen_from(family), family[0].parse::<IpAddr>().unwrap());
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_packet_conntrack_calls_invalid_is_dropped_and_counted_where_masquerade_is_due() {
    let scene = Scene::new();
    scene.node.run(|| firewall::apply(&firewall()).unwrap());
    let outsides = FAMILIES.map(|family| family[2].parse::<IpAddr>().unwrap());
    for (number, outside) in outsides.into_iter().enumerate() {
        let listener = scene.outside.run(|| icmp(outside));
        scene.pod.run(|| unasked_reply(outside));
        assert_eq!(replies(&listener), 0, "{outside}");
        assert_eq!(scene.packets(INVALID_TO_OUTSIDE), number as u64 + 1);
    }
    assert_eq!(scene.packets(FORWARDED), 0);
    scene.node.run(|| firewall::apply(&Firewall { masquerade: Vec::new(), ..firewall() }).unwrap());
    for outside in outsides {
        let listener = scene.outside.run(|| icmp(outside));
        scene.pod.run(|| unasked_reply(outside));
        assert_eq!(replies(&listener), 1, "without masquerade it passes: {outside}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn tunnel_packets_come_in_at_the_addresses_the_cluster_lists_and_nowhere_else() {
    let scene = Scene::new();
    let nodes = FAMILIES.map(|family| family[1].parse::<IpAddr>().unwrap());
    for (listed, arrive) in [(Vec::new(), false), (nodes.to_vec(), true)] {
        let tunnel = Some(Tunnel { port: 8472, device_port: 8472, vni: 5230, addresses: listed });
        scene.node.run(|| firewall::apply(&Firewall { tunnel, ..firewall() }).unwrap());
        for node in nodes {
            let before = scene.packets(TUNNEL_ELSEWHERE);
            let server = scene.node.run(|| UdpSocket::bind((node, 8472)).unwrap());
            // The test waits in vain for packets that must not arrive.
            let patience = Duration::from_millis(if arrive { 20_000 } else { 500 });
            server.set_read_timeout(Some(patience)).unwrap();
            let any = if node.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            scene.pod.run(|| UdpSocket::bind(any).unwrap().send_to(b"x", (node, 8472)).unwrap());
            assert_eq!(server.recv_from(&mut [0; 8]).is_ok(), arrive, "{node}");
            assert_eq!(scene.packets(TUNNEL_ELSEWHERE) - before, u64::from(!arrive), "{node}");
        }
    }
}

/// A raw ICMP socket: `libc` knows them, the standard library does not.
fn icmp(family: IpAddr) -> UdpSocket {
    let (domain, protocol) = match family {
        IpAddr::V4(_) => (libc::AF_INET, libc::IPPROTO_ICMP),
        IpAddr::V6(_) => (libc::AF_INET6, libc::IPPROTO_ICMPV6),
    };
    // SAFETY: the descriptor is fresh and owned by nobody else.
    let socket = unsafe {
        let fd = libc::socket(domain, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol);
        assert!(fd >= 0, "raw socket");
        OwnedFd::from_raw_fd(fd)
    };
    UdpSocket::from(socket)
}

/// An echo reply's identifier and sequence number.
const MARK: [u8; 4] = [0x4e, 0x41, 0x00, 0x07];

/// Sends an echo reply that nobody asked for. The kernel fills in the checksum of ICMPv6.
fn unasked_reply(to: IpAddr) {
    let [a, b, c, d] = MARK;
    let reply = match to {
        IpAddr::V4(_) => {
            let sum = !(u16::from_be_bytes([a, b]) + u16::from_be_bytes([c, d]));
            let [high, low] = sum.to_be_bytes();
            [0, 0, high, low, a, b, c, d]
        }
        IpAddr::V6(_) => [129, 0, 0, 0, a, b, c, d],
    };
    icmp(to).send_to(&reply, SocketAddr::new(to, 0)).unwrap();
}

/// The number of such replies that the socket got within 300 ms.
fn replies(listener: &UdpSocket) -> usize {
    listener.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut buffer = [0; 256];
    let got = std::iter::from_fn(|| {
        listener.recv(&mut buffer).ok().map(|length| buffer[..length].ends_with(&MARK))
    });
    got.filter(|ours| *ours).count()
}
