//! Packets of a pod that must not get through, and the counters that must show them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking, their helpers too")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use naru_e2e::{
    cni::TestPod,
    counters::Counters,
    lab::{Lab, Node},
    netns::Netns,
    probe::{
        Host,
        forge::{Listener, send_frames},
        fragments::send_packets,
        ping,
    },
    tool,
    wire::{checksum, ethernet, icmp, ip},
};
use serde_json::{Value, json};

const MARK: &[u8] = b"forged-by-the-end-to-end-tests";
const PORT: u16 = 8472;
const VNI: u32 = 5230;
const TRIES: usize = 20;

fn lab() -> Lab {
    Lab::up("--families dual --underlay dual").unwrap()
}

fn udp(source: IpAddr, destination: IpAddr, data: &[u8]) -> Vec<u8> {
    let length = (8 + data.len()) as u16;
    let header =
        [&4000u16.to_be_bytes()[..], &4001u16.to_be_bytes(), &length.to_be_bytes(), &[0, 0]].concat();
    let mut message = [&header[..], data].concat();
    let pseudo = checksum::pseudo_header(source, destination, ip::UDP, message.len());
    let sum = checksum::internet(&[&pseudo, &message]).to_be_bytes();
    message[6..8].copy_from_slice(&sum);
    ip::packet(source, destination, ip::UDP, &message)
}

/// Runs `attack` while listening for [`MARK`] at `victims`. Returns the datapath's counts meanwhile. Nothing may
/// arrive.
fn nothing_arrives(lab: &Lab, victims: &[(&Netns, &str)], attack: impl FnOnce()) -> Counters {
    let (moved, seen) = watched(lab, victims, attack);
    assert_eq!(seen, 0, "forged packets arrived; counted: {moved:?}");
    moved
}

fn watched(lab: &Lab, victims: &[(&Netns, &str)], attack: impl FnOnce()) -> (Counters, usize) {
    let listeners: Vec<Listener> =
        victims.iter().map(|(netns, link)| Listener::start(netns, link, MARK).unwrap()).collect();
    let before = Counters::sum(&lab.nodes).unwrap();
    attack();
    let seen = listeners.into_iter().map(|listener| listener.stop().unwrap()).sum();
    (Counters::sum(&lab.nodes).unwrap().since(&before), seen)
}

/// The entry of `naru endpoints` for `address`.
fn endpoint(node: &Node, address: IpAddr) -> Value {
    let all = node.naru_json("endpoints").unwrap();
    let found = all.as_array().unwrap().iter().find(|entry| entry["address"] == address.to_string().as_str());
    found.unwrap_or_else(|| panic!("no endpoint {address} in {all}")).clone()
}

fn mac(endpoint: &Value, key: &str) -> [u8; 6] {
    let text = endpoint[key].as_str().unwrap();
    let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

fn repeated(packet: Vec<u8>) -> Vec<Vec<u8>> {
    vec![packet; TRIES]
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_forged_source_address_gets_nothing_through() {
    let lab = lab();
    for v6 in [false, true] {
        let host = |name: &str| lab.must_host(name, v6).unwrap();
        let (pod, neighbour, remote) = (host("p1-1"), host("p1-2"), host("p2-1"));
        let (node, out) = (lab.node("n1").unwrap().open().unwrap(), host("out"));
        let gateway = endpoint(lab.node("n1").unwrap(), pod.address);
        let stranger: IpAddr =
            if v6 { "2001:db8:77::1".parse().unwrap() } else { "10.99.99.99".parse().unwrap() };
        // In the name of: a neighbour, a remote pod, the node, a stranger. To: everybody.
        let sources = [neighbour.address, remote.address, host("n1").address, stranger];
        let targets = [neighbour.address, remote.address, host("n1").address, out.address];
        let pairs = sources.iter().flat_map(|source| targets.map(|target| (*source, target)));
        let frames: Vec<Vec<u8>> = pairs
            .filter(|(source, target)| source != target)
            .map(|(source, target)| {
                let packet = udp(source, target, MARK);
                ethernet::frame(
                    mac(&gateway, "host_mac"),
                    mac(&gateway, "pod_mac"),
                    ethernet::ethertype(&packet),
                    &packet,
                )
            })
            .collect();
        let victims =
            [(&neighbour.netns, "eth0"), (&remote.netns, "eth0"), (&node, "eth0"), (&out.netns, "eth0")];
        let moved = nothing_arrives(&lab, &victims, || send_frames(&pod.netns, "eth0", &frames).unwrap());
        assert_eq!(moved.at("from_pod", "drop", "spoofed-source").packets, frames.len() as u64, "{moved:?}");
        ping::all_return(&pod, &neighbour, 56, 1).unwrap();
    }
}

/// `packet` with four bytes of IPv4 options, or an empty IPv6 destination options header.
fn with_options(packet: &[u8]) -> Vec<u8> {
    let mut changed = packet.to_vec();
    if packet[0] >> 4 == 6 {
        changed[6] = 60;
        let length = u16::try_from(packet.len() - 40 + 8).unwrap();
        changed[4..6].copy_from_slice(&length.to_be_bytes());
        changed.splice(40..40, [packet[6], 0, 1, 4, 0, 0, 0, 0]);
    } else {
        changed[0] = 0x46;
        let length = u16::try_from(packet.len() + 4).unwrap();
        changed[2..4].copy_from_slice(&length.to_be_bytes());
        changed.splice(20..20, [1, 1, 1, 0]);
        changed[10..12].fill(0);
        let sum = checksum::internet(&[&changed[..24]]).to_be_bytes();
        changed[10..12].copy_from_slice(&sum);
    }
    changed
}

/// `frame` with a VLAN tag.
fn tagged(frame: &[u8], tag: u16) -> Vec<u8> {
    [&frame[..12], &[0x81, 0], &tag.to_be_bytes(), &frame[12..]].concat()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_forged_source_address_gets_nothing_through_however_it_is_wrapped() {
    let lab = lab();
    for v6 in [false, true] {
        let host = |name: &str| lab.must_host(name, v6).unwrap();
        let (pod, neighbour, remote, out) = (host("p1-1"), host("p1-2"), host("p2-1"), host("out"));
        let node = lab.node("n1").unwrap();
        let own = endpoint(node, pod.address);
        let frame = |packet: &[u8]| {
            ethernet::frame(mac(&own, "host_mac"), mac(&own, "pod_mac"), ethernet::ethertype(packet), packet)
        };
        let forged: Vec<Vec<u8>> = [&neighbour, &remote, &out]
            .iter()
            .filter(|target| target.address != remote.address)
            .map(|target| udp(remote.address, target.address, MARK))
            .collect();
        let plain = forged.iter().map(|packet| frame(packet));
        let frames: Vec<Vec<u8>> = plain
            .clone()
            .flat_map(|frame| [tagged(&frame, 0), tagged(&frame, 5), tagged(&tagged(&frame, 5), 6)])
            .chain(forged.iter().map(|packet| frame(&with_options(packet))))
            .chain(plain.map(|mut frame| {
                // To everybody on the link.
                frame[..6].fill(0xff);
                frame
            }))
            .collect();
        let netns = node.open().unwrap();
        let victims =
            [(&neighbour.netns, "eth0"), (&remote.netns, "eth0"), (&netns, "eth0"), (&out.netns, "eth0")];
        let moved = nothing_arrives(&lab, &victims, || send_frames(&pod.netns, "eth0", &frames).unwrap());
        let reasons = ["spoofed-source", "unknown-ethertype"];
        let dropped: u64 = reasons.iter().map(|reason| moved.at("from_pod", "drop", reason).packets).sum();
        assert_eq!(dropped, frames.len() as u64, "{moved:?}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn options_and_extension_headers_reach_their_pod() {
    let lab = lab();
    for v6 in [false, true] {
        let host = |name: &str| lab.must_host(name, v6).unwrap();
        for to in ["p1-2", "p2-1"] {
            let (pod, to) = (host("p1-1"), host(to));
            let packet = with_options(&udp(pod.address, to.address, MARK));
            let send = || send_packets(&pod.netns, to.address, &repeated(packet)).unwrap();
            let (moved, seen) = watched(&lab, &[(&to.netns, "eth0")], send);
            assert_eq!(seen, TRIES, "{moved:?}");
            assert!(moved.at("from_pod", "stack", "options").packets >= TRIES as u64, "{moved:?}");
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_a_pod_may_send_does_arrive() {
    let lab = lab();
    let (pod, neighbour) = (lab.must_host("p1-1", false).unwrap(), lab.must_host("p1-2", false).unwrap());
    let packet = udp(pod.address, neighbour.address, MARK);
    let (_, seen) = watched(&lab, &[(&neighbour.netns, "eth0")], || {
        send_packets(&pod.netns, neighbour.address, &repeated(packet)).unwrap();
    });
    assert_eq!(seen, TRIES, "the listener of these tests hears nothing");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn forged_neighbour_messages_get_nothing_through() {
    let lab = lab();
    let (pod, neighbour) = (lab.must_host("p1-1", false).unwrap(), lab.must_host("p1-2", false).unwrap());
    let own = endpoint(lab.node("n1").unwrap(), pod.address);
    let (pod_mac, host_mac) = (mac(&own, "pod_mac"), mac(&own, "host_mac"));
    let (IpAddr::V4(victim), IpAddr::V4(node)) =
        (neighbour.address, lab.must_host("n1", false).unwrap().address)
    else {
        panic!("IPv4 expected")
    };
    let gateway = Ipv4Addr::new(169, 254, 1, 1);
    let arp = |claimed: Ipv4Addr| {
        let message = [&icmp::arp_reply(pod_mac, claimed, host_mac, node)[..], MARK].concat();
        ethernet::frame([0xff; 6], pod_mac, ethernet::ARP, &message)
    };
    let v6 = lab.must_host("p1-2", true).unwrap().address;
    let advertisement = |claimed: Ipv6Addr| {
        let source = ip::to_v6(lab.must_host("p1-1", true).unwrap().address);
        let message = icmp::neighbour_advertisement(source, "ff02::1".parse().unwrap(), claimed, pod_mac);
        ethernet::frame([0x33, 0x33, 0, 0, 0, 1], pod_mac, ethernet::IPV6, &[&message[..], MARK].concat())
    };
    let frames: Vec<Vec<u8>> = [
        repeated(arp(victim)),
        repeated(arp(gateway)),
        repeated(advertisement(ip::to_v6(v6))),
        repeated(advertisement("fe80::1".parse().unwrap())),
    ]
    .concat();
    let node = lab.node("n1").unwrap().open().unwrap();
    let victims = [(&neighbour.netns, "eth0"), (&node, "eth0")];
    let moved = nothing_arrives(&lab, &victims, || send_frames(&pod.netns, "eth0", &frames).unwrap());
    assert_eq!(moved.at("from_pod", "drop", "foreign-neighbour").packets, frames.len() as u64, "{moved:?}");
    // The announcement is ignored: the node still reaches the victim, and the victim its gateway.
    for v6 in [false, true] {
        let (node, victim) = (lab.must_host("n1", v6).unwrap(), lab.must_host("p1-2", v6).unwrap());
        ping::all_return(&node, &victim, 56, 2).unwrap();
        ping::all_return(&victim, &lab.must_host("out", v6).unwrap(), 56, 2).unwrap();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_forged_source_mac_gets_through_only_where_it_is_not_checked() {
    let lab = lab();
    let target = lab.must_host("p1-2", false).unwrap();
    for checked in [true, false] {
        let conf = if checked { json!({"naru": {"antispoof": "mac"}}) } else { json!({}) };
        let pod = TestPod::add(&lab, "n1", "mac", &conf).unwrap();
        let source = pod.host(false).unwrap();
        let own = endpoint(lab.node("n1").unwrap(), source.address);
        let packet = udp(source.address, target.address, MARK);
        let foreign = [2, 0x66, 0, 0, 0, 1];
        let frames = repeated(ethernet::frame(mac(&own, "host_mac"), foreign, ethernet::IPV4, &packet));
        let attack = || send_frames(&source.netns, "eth0", &frames).unwrap();
        let (moved, seen) = watched(&lab, &[(&target.netns, "eth0")], attack);
        let dropped = moved.at("from_pod", "drop", "spoofed-mac").packets;
        let expected = if checked { (0, TRIES as u64) } else { (TRIES, 0) };
        assert_eq!((seen, dropped), expected, "checked: {checked}; {moved:?}");
    }
}

/// A VXLAN payload that holds a packet for `target`.
fn encapsulated(vni: u32, source: IpAddr, target: IpAddr) -> Vec<u8> {
    let packet = udp(source, target, MARK);
    ethernet::vxlan(vni, &ethernet::frame([2; 6], [4; 6], ethernet::ethertype(&packet), &packet))
}

fn send_datagrams(from: &Netns, to: IpAddr, payload: &[u8]) {
    from.run(|| {
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any)?;
        // A refusal by ICMP is as good as silence.
        (0..TRIES).for_each(|_| drop(socket.send_to(payload, (to, PORT))));
        Ok(())
    })
    .unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pods_own_tunnel_packets_get_nothing_through() {
    let lab = lab();
    for v6 in [false, true] {
        let host = |name: &str| lab.must_host(name, v6).unwrap();
        let (pod, local, remote) = (host("p1-1"), host("p1-2"), host("p2-1"));
        let victims = [(&local.netns, "eth0"), (&remote.netns, "eth0")];
        let moved = nothing_arrives(&lab, &victims, || {
            // To its own node for a neighbour, to the other node for a pod there; in its own name and another's.
            send_datagrams(&pod.netns, host("n1").address, &encapsulated(VNI, pod.address, local.address));
            send_datagrams(&pod.netns, host("n1").address, &encapsulated(VNI, remote.address, local.address));
            send_datagrams(&pod.netns, host("n2").address, &encapsulated(VNI, pod.address, remote.address));
            send_datagrams(&pod.netns, host("n2").address, &encapsulated(VNI, local.address, remote.address));
        });
        assert_eq!(moved.at("from_pod", "drop", "tunnel-port").packets, 4 * TRIES as u64, "{moved:?}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn tunnel_packets_of_strangers_and_in_strange_names_are_dropped_on_receipt() {
    let lab = lab();
    // The tunnel runs over the nodes' first addresses, which are IPv4 here.
    let node = lab.must_host("n2", false).unwrap().address;
    for v6 in [false, true] {
        let host = |name: &str| lab.must_host(name, v6).unwrap();
        let (own, target): (Host, Host) = (host("p1-1"), host("p2-1"));
        let (outside, friend) = (host("out").netns, lab.node("n1").unwrap().open().unwrap());
        let stranger: IpAddr =
            if v6 { "2001:db8:77::1".parse().unwrap() } else { "10.99.99.99".parse().unwrap() };
        let unheld: IpAddr =
            if v6 { "2001:db8:78::1".parse().unwrap() } else { "10.98.98.98".parse().unwrap() };
        let cases: [(&Netns, Vec<u8>, &str); 5] = [
            (&outside, encapsulated(VNI, own.address, target.address), "foreign-outer-source"),
            (&friend, encapsulated(VNI, stranger, target.address), "foreign-inner-source"),
            (&friend, encapsulated(VNI, host("p2-2").address, target.address), "foreign-inner-source"),
            (&friend, encapsulated(VNI + 1, own.address, target.address), "foreign-key"),
            (&friend, encapsulated(VNI, own.address, unheld), "not-for-this-node"),
        ];
        for (from, payload, reason) in cases {
            let victims = [(&target.netns, "eth0"), (&outside, "lo")];
            let moved = nothing_arrives(&lab, &victims, || send_datagrams(from, node, &payload));
            assert_eq!(moved.at("from_overlay", "drop", reason).packets, TRIES as u64, "{reason}: {moved:?}");
        }
        // The same from where it may come from arrives.
        let payload = encapsulated(VNI, own.address, target.address);
        let (_, seen) = watched(&lab, &[(&target.netns, "eth0")], || send_datagrams(&friend, node, &payload));
        assert_eq!(seen, TRIES);
    }
}

/// A TCP segment that no connection tracker accepts: SYN and FIN together.
fn invalid_segment(source: IpAddr, destination: IpAddr) -> Vec<u8> {
    let fixed = [0x0f, 0xa0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x03, 0xff, 0xff, 0, 0, 0, 0];
    let mut segment = [&fixed[..], MARK].concat();
    let pseudo = checksum::pseudo_header(source, destination, 6, segment.len());
    let sum = checksum::internet(&[&pseudo, &segment]).to_be_bytes();
    segment[16..18].copy_from_slice(&sum);
    ip::packet(source, destination, 6, &segment)
}

fn invalid_to_outside(node: &Node) -> u64 {
    let text = tool::run(&node.open().unwrap(), "nft list counter inet naru invalid_to_outside").unwrap();
    text.split("packets ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn packets_that_would_leave_unmasqueraded_with_a_pod_address_are_dropped_and_counted() {
    let lab = lab();
    let node = lab.node("n1").unwrap();
    for v6 in [false, true] {
        let (pod, out) = (lab.must_host("p1-1", v6).unwrap(), lab.must_host("out", v6).unwrap());
        let listed = lab.must_host("listed", v6).unwrap();
        // The kernel may hold packets over a fresh uplink until a second later.
        let passes = || ping::all_return(&pod, &listed, 56, 1).is_ok();
        assert!(tool::holds_within(std::time::Duration::from_secs(20), passes));
        let before = invalid_to_outside(node);
        nothing_arrives(&lab, &[(&out.netns, "eth0")], || {
            send_packets(&pod.netns, out.address, &repeated(invalid_segment(pod.address, out.address)))
                .unwrap();
        });
        assert_eq!(invalid_to_outside(node) - before, TRIES as u64);
        // Where the pod's address is known it may be seen.
        let (_, seen) = watched(&lab, &[(&listed.netns, "eth0")], || {
            let packets = repeated(invalid_segment(pod.address, listed.address));
            send_packets(&pod.netns, listed.address, &packets).unwrap();
        });
        assert_eq!(seen, TRIES);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_address_of_the_block_that_no_pod_holds_answers_unreachable() {
    let lab = lab();
    for (v6, node) in [(false, "n1"), (true, "n1"), (false, "n2"), (true, "n2")] {
        let empty = lab.node(node).unwrap().free_address(v6).unwrap();
        let pod = lab.must_host("p1-1", v6).unwrap();
        let answer = ping::once(&pod.netns, empty, ping::Ping::default()).unwrap();
        assert!(matches!(answer, ping::Answer::Unreachable { .. }), "{empty}: {answer:?}");
    }
}
