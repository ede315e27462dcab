//! Tunnel packets at an uplink, made by hand: those that the program decapsulates, leaves to the device, or drops.

use std::{net::IpAddr, time::Duration};

use naru_abi::{
    Config,
    Hook::{self, FromOverlay, FromUnderlay},
    Outcome, StackReason, Verdict, features,
};
use naru_bpf::{AttachMode, Side, attach};
use naru_e2e::{
    probe::fragments::send_packets,
    tool::holds_within,
    wire::{ethernet, ip},
};

use crate::{
    kernel::has_encapsulation,
    node::{PORT, VNI, config},
    overlay::{Tunnel, cases, from_far},
    run::growth,
    world::{A, FAMILIES, Family},
};

/// A tunnel whose node takes packets out by its programs.
fn own(underlay: Family) -> Tunnel {
    let tunnel = Tunnel::new(underlay, AttachMode::Auto);
    let node = &tunnel.node;
    let features = features::OWN_ENCAPSULATION | features::DIRECT;
    node.datapath().config().unwrap().set(Config { features, ..config(node.ifindex("vx")) }).unwrap();
    node.run(|| attach(&node.pins, Side::Underlay, "u0", AttachMode::Auto).unwrap());
    tunnel
}

/// `frame` in UDP without a checksum, in IP.
fn outer(tunnel: &Tunnel, source: IpAddr, vni: u32, frame: &[u8]) -> Vec<u8> {
    let vxlan = ethernet::vxlan(vni, frame);
    let length = u16::try_from(8 + vxlan.len()).unwrap().to_be_bytes();
    let [high, low] = PORT.to_be_bytes();
    let datagram = [&[0xc1, 0x23, high, low, length[0], length[1], 0, 0][..], &vxlan].concat();
    ip::packet(source, tunnel.underlay.local_node(), ip::UDP, &datagram)
}

/// Sends the packets. Returns their outcomes at the uplink and at the tunnel device, without packets that are not ours.
fn send(tunnel: &Tunnel, packets: &[Vec<u8>]) -> Vec<(Hook, Outcome, u64)> {
    let stats = tunnel.node.datapath().stats().unwrap();
    let before = stats.totals().unwrap();
    let ends = || -> Vec<(Hook, Outcome, u64)> {
        let grown = growth(&stats, &before).into_iter();
        let ours = grown.filter(|end| {
            [FromUnderlay, FromOverlay].contains(&end.hook) && end.outcome != StackReason::NotOurs.into()
        });
        ours.map(|end| (end.hook, end.outcome, end.counter.packets)).collect()
    };
    send_packets(tunnel.far(), tunnel.underlay.local_node(), packets).unwrap();
    let is_left = |ends: &[(Hook, Outcome, u64)]| {
        ends.iter().all(|end| matches!(end.1, Outcome::Stack(_)))
            && ends.iter().all(|end| end.0 == FromUnderlay)
    };
    holds_within(Duration::from_secs(2), || !is_left(&ends()));
    ends()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_tunnel_packet_comes_to_the_same_end_whoever_takes_it_out() {
    if !has_encapsulation() {
        return;
    }
    for underlay in FAMILIES {
        let tunnel = own(underlay);
        for family in FAMILIES {
            for case in cases(family, underlay) {
                let packet = outer(&tunnel, case.source, case.vni, &case.packet.frame());
                let mut expected = vec![(FromUnderlay, case.outcome, 1)];
                // Packets for the stack reach it by the device.
                if matches!(case.outcome, Outcome::Stack(_)) {
                    expected.insert(0, (FromOverlay, case.outcome, 1));
                }
                assert_eq!(send(&tunnel, &[packet]), expected, "{family:?} in {underlay:?}: {}", case.name);
            }
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_only_the_device_understands_is_left_to_it_untouched() {
    if !has_encapsulation() {
        return;
    }
    for underlay in FAMILIES {
        let tunnel = own(underlay);
        let header = underlay.header();
        let source = underlay.remote_node();
        let left =
            [(FromOverlay, Verdict::Peer.into(), 1), (FromUnderlay, StackReason::TunnelDevice.into(), 1)];
        for family in FAMILIES {
            let frame = from_far(family).checked().frame();
            let whole = outer(&tunnel, source, VNI, &frame);
            let mut marked = whole.clone();
            marked[1] |= if underlay == Family::V4 { 3 } else { 0x30 };
            let mut capable = outer(&tunnel, source, VNI, &capable(frame.clone()));
            capable[1] |= if underlay == Family::V4 { 3 } else { 0x30 };
            assert_eq!(send(&tunnel, &[capable]), left, "{family:?} in {underlay:?}: congestion on the way");
            // A congestion mark around a packet that cannot carry one: the device drops it (RFC 6040, 4.2).
            let only = [(FromUnderlay, StackReason::TunnelDevice.into(), 1)];
            assert_eq!(send(&tunnel, &[marked]), only, "{family:?} in {underlay:?}: a mark that is lost");
            let mut unknown = whole.clone();
            // The O bit of VXLAN-GPE; the device takes flags that it does not know for an error.
            unknown[header + 8] |= 1;
            assert_eq!(send(&tunnel, &[unknown]), only, "{family:?} in {underlay:?}: another flag");
            let mut checked = whole;
            fill_checksum(&tunnel, &mut checked, source);
            assert_eq!(send(&tunnel, &[checked]), left, "{family:?} in {underlay:?}: a checksum");
        }
    }
}

/// The frame with a packet that can carry a congestion mark.
fn capable(mut frame: Vec<u8>) -> Vec<u8> {
    if frame[12..14] == [0x08, 0x00] {
        frame[15] |= 2;
        crate::frames::fix_checksum(&mut frame[14..]);
    } else {
        frame[15] |= 0x20;
    }
    frame
}

fn fill_checksum(tunnel: &Tunnel, packet: &mut [u8], source: IpAddr) {
    use naru_e2e::wire::checksum::{internet, pseudo_header};
    let header = tunnel.underlay.header();
    let datagram = &packet[header..];
    let pseudo = pseudo_header(source, tunnel.underlay.local_node(), ip::UDP, datagram.len());
    let sum = internet(&[&pseudo, datagram]).to_be_bytes();
    packet[header + 6..header + 8].copy_from_slice(&sum);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_outer_packet_in_fragments_comes_in_by_the_device() {
    for underlay in FAMILIES {
        let tunnel = own(underlay);
        for family in FAMILIES {
            let frame = from_far(family).checked().frame();
            let whole = outer(&tunnel, underlay.remote_node(), VNI, &frame);
            let ends = send(&tunnel, &in_two(&whole, underlay));
            assert!(
                ends.contains(&(FromOverlay, Verdict::Peer.into(), 1)),
                "{family:?} in {underlay:?}: {ends:?}"
            );
            assert!(
                ends.iter().all(|end| !matches!(end.1, Outcome::Drop(_))),
                "{family:?} in {underlay:?}: {ends:?}"
            );
        }
    }
}

/// An IP packet in two fragments.
fn in_two(packet: &[u8], family: Family) -> [Vec<u8>; 2] {
    let (header, payload) = packet.split_at(family.header());
    let cut = 48;
    let fragment = |part: &[u8], offset: usize, more: u16| -> Vec<u8> {
        let mut head = header.to_vec();
        let flags = match family {
            Family::V4 => u16::try_from(offset / 8).unwrap() | more << 13,
            Family::V6 => u16::try_from(offset).unwrap() | more,
        };
        let [high, low] = flags.to_be_bytes();
        let extra = if family == Family::V4 {
            head[4..6].copy_from_slice(&[0x12, 0x34]);
            head[6..8].copy_from_slice(&[high, low]);
            head[2..4].copy_from_slice(&u16::try_from(20 + part.len()).unwrap().to_be_bytes());
            crate::frames::fix_checksum(&mut head);
            vec![]
        } else {
            head[4..6].copy_from_slice(&u16::try_from(8 + part.len()).unwrap().to_be_bytes());
            head[6] = 44;
            vec![ip::UDP, 0, high, low, 1, 2, 3, 4]
        };
        [head, extra, part.to_vec()].concat()
    };
    [fragment(&payload[..cut], 0, 1), fragment(&payload[cut..], cut, 0)]
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_comes_without_the_tunnel_reaches_a_pod_from_nodes_and_their_pods_only() {
    for underlay in FAMILIES {
        let tunnel = own(underlay);
        for family in FAMILIES {
            // To the node's MAC address, whatever is inside.
            let to = |packet: &crate::frames::Packet| packet.frame()[14..].to_vec();
            let peer = [(FromUnderlay, Verdict::Peer.into(), 1)];
            let whole = from_far(family);
            let case = |packet: &crate::frames::Packet, expected: &[(Hook, Outcome, u64)], about: &str| {
                let target = A.address(family);
                let gateway = family.local_node();
                let length = if family == Family::V4 { 32 } else { 128 };
                let route = format!("route replace {target}/{length} via {gateway}");
                crate::node::ip(tunnel.far(), &route);
                let stats = tunnel.node.datapath().stats().unwrap();
                let before = stats.totals().unwrap();
                send_packets(tunnel.far(), target, &[to(packet)]).unwrap();
                let ends = || -> Vec<_> {
                    let grown = growth(&stats, &before)
                        .into_iter()
                        .filter(|end| end.hook == FromUnderlay && end.outcome != StackReason::NotOurs.into());
                    grown.map(|end| (end.hook, end.outcome, end.counter.packets)).collect()
                };
                // The test waits in vain for packets that must not arrive.
                let patience = if expected.is_empty() { 300 } else { 20_000 };
                holds_within(Duration::from_millis(patience), || !ends().is_empty());
                assert_eq!(ends(), expected, "{family:?}: {about}");
            };
            case(&whole, &peer, "a remote pod");
            case(&whole.clone().from(family.remote_node()), &peer, "a remote node");
            case(&whole.clone().from(family.outside()), &[], "from outside");
            case(&whole.clone().from(A.address(family)), &[], "the pod's own address");
            let last = [(FromUnderlay, StackReason::TtlExpired.into(), 1)];
            case(&whole.hops(1), &last, "the last hop");
        }
    }
}
