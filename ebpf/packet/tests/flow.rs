//! Which flow packets of every kind belong to.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod frames;

use frames::{addr, ip, ipv4, ipv6, udp};
use naru_abi::FlowKey;
use naru_packet::{Family, Frame, answered, answering, forwarding_ports, protocol, reported};

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// The key of the packet as an answer, and that of its answers.
fn keys(frame: &[u8]) -> (FlowKey, Option<FlowKey>) {
    let header = ip(frame);
    let mut bytes = frame.to_vec();
    let frame = Frame::new(&mut bytes);
    (answering(&frame, &header), answered(&frame, &header))
}

/// The key of the answers that an error is about, and whether it is answered itself.
fn error_keys(frame: &[u8]) -> (Option<FlowKey>, Option<FlowKey>) {
    let header = ip(frame);
    let mut bytes = frame.to_vec();
    let frame = Frame::new(&mut bytes);
    let mut key = FlowKey::NONE;
    let found = reported(&frame, &header, &mut key);
    (found.map(|()| key), answered(&frame, &header))
}

/// The packet belongs to the flow of `key`, its own source first, as an answer and as one that is answered.
fn belongs_to(key: FlowKey, frame: &[u8]) {
    assert_eq!(keys(frame), (key, Some(key.reversed())));
}

/// A frame from 10.1.0.1 to 10.1.0.2, or fd00::1 to fd00::2.
fn frame(family: Family, protocol: u8, payload: &[u8]) -> Vec<u8> {
    match family {
        Family::V4 => ipv4(protocol, &[], payload),
        Family::V6 => ipv6(protocol, payload),
    }
}

fn pair(family: Family, protocol: u8) -> FlowKey {
    match family {
        Family::V4 => FlowKey::between(addr("10.1.0.1"), addr("10.1.0.2"), protocol),
        Family::V6 => FlowKey::between(addr("fd00::1"), addr("fd00::2"), protocol),
    }
}

/// The fragment of such a frame that begins at `offset`, with more to come.
fn fragment(family: Family, protocol: u8, offset: u16, payload: &[u8]) -> Vec<u8> {
    match family {
        Family::V4 => {
            let mut frame = ipv4(protocol, &[], payload);
            frame[20..22].copy_from_slice(&(0x2000 | (offset / 8)).to_be_bytes());
            frame
        }
        Family::V6 => {
            let [high, low] = (offset | 1).to_be_bytes();
            ipv6(protocol::FRAGMENT, &[&[protocol, 0, high, low, 0, 0, 0, 9][..], payload].concat())
        }
    }
}

fn icmp(family: Family) -> u8 {
    if family == Family::V4 { protocol::ICMP } else { protocol::ICMPV6 }
}

/// Destination unreachable, about the packet in `frame`.
fn unreachable(family: Family, frame: &[u8]) -> Vec<u8> {
    let kind = if family == Family::V4 { 3 } else { 1 };
    [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &frame[14..]].concat()
}

#[test]
fn protocols_with_ports_are_told_apart_by_them() {
    for family in FAMILIES {
        for with_ports in [protocol::TCP, protocol::UDP, protocol::UDP_LITE, protocol::DCCP, protocol::SCTP] {
            let key = pair(family, with_ports).with_ports(12345, 53);
            belongs_to(key, &frame(family, with_ports, &udp(53)));
        }
        for without in [47, 50, 59] {
            belongs_to(pair(family, without), &frame(family, without, &udp(53)));
        }
    }
}

#[test]
fn options_do_not_hide_the_ports() {
    let key = pair(Family::V4, protocol::UDP).with_ports(12345, 53);
    belongs_to(key, &ipv4(protocol::UDP, &[7, 3, 4, 0], &udp(53)));
}

#[test]
fn the_first_fragment_tells_the_ports_of_its_answers_and_no_fragment_is_an_answer_by_its_ports() {
    for family in FAMILIES {
        let pair = pair(family, protocol::UDP);
        let first = fragment(family, protocol::UDP, 0, &udp(53));
        assert_eq!(keys(&first), (pair, Some(pair.with_ports(12345, 53).reversed())));
        belongs_to(pair, &fragment(family, protocol::UDP, 1480, &udp(53)));
    }
}

#[test]
fn the_last_fragment_is_a_fragment() {
    let mut last = ipv4(protocol::UDP, &[], &udp(53));
    last[20..22].copy_from_slice(&185u16.to_be_bytes());
    belongs_to(pair(Family::V4, protocol::UDP), &last);
    let last = ipv6(protocol::FRAGMENT, &[&[17, 0, 5, 200, 0, 0, 0, 9][..], &udp(53)].concat());
    belongs_to(pair(Family::V6, protocol::UDP), &last);
}

#[test]
fn an_ipv6_packet_in_one_fragment_is_whole() {
    let atomic = ipv6(protocol::FRAGMENT, &[&[17, 0, 0, 0, 0, 0, 0, 9][..], &udp(53)].concat());
    belongs_to(pair(Family::V6, protocol::UDP).with_ports(12345, 53), &atomic);
}

#[test]
fn an_echo_and_its_reply_belong_to_flows_that_are_each_others_reverse() {
    for (family, request, reply) in [(Family::V4, 8, 0), (Family::V6, 128, 129)] {
        let key = pair(family, icmp(family)).with_ports(0x4e41, 0x4e41);
        for kind in [request, reply] {
            belongs_to(key, &frame(family, icmp(family), &[kind, 0, 1, 2, 0x4e, 0x41, 0, 1]));
        }
    }
}

#[test]
fn an_error_goes_the_way_of_the_answers_to_the_packet_that_it_is_about_and_is_not_answered() {
    for family in FAMILIES {
        let key = pair(family, protocol::UDP);
        let about = frame(family, protocol::UDP, &udp(53));
        let error = frame(family, icmp(family), &unreachable(family, &about));
        assert_eq!(error_keys(&error), (Some(key.with_ports(12345, 53).reversed()), None));
        let about = fragment(family, protocol::UDP, 1480, &udp(53));
        let error = frame(family, icmp(family), &unreachable(family, &about));
        assert_eq!(error_keys(&error), (Some(key.reversed()), None));
        let about = frame(family, icmp(family), &[if family == Family::V4 { 8 } else { 128 }, 0, 0, 0, 7, 9]);
        let error = frame(family, icmp(family), &unreachable(family, &about));
        assert_eq!(
            error_keys(&error),
            (Some(pair(family, icmp(family)).with_ports(0x0709, 0x0709).reversed()), None)
        );
    }
}

#[test]
fn options_in_the_packet_that_an_error_is_about_do_not_hide_its_ports() {
    let about = ipv4(protocol::TCP, &[7, 3, 4, 0], &udp(53));
    let error = ipv4(protocol::ICMP, &[], &unreachable(Family::V4, &about));
    assert_eq!(
        error_keys(&error),
        (Some(pair(Family::V4, protocol::TCP).with_ports(12345, 53).reversed()), None)
    );
}

#[test]
fn what_is_cut_short_has_no_ports() {
    for family in FAMILIES {
        let short = frame(family, protocol::UDP, &[0x30, 0x39, 0]);
        belongs_to(pair(family, protocol::UDP), &short);
        let error = frame(family, icmp(family), &unreachable(family, &[0; 20]));
        assert_eq!(error_keys(&error), (None, None));
    }
}

#[test]
fn forwarding_sees_the_ports_of_whole_packets_of_protocols_that_have_some() {
    let ports = |frame: Vec<u8>| forwarding_ports(&Frame::new(&mut frame.clone()), &ip(&frame));
    let both = [0x30, 0x39, 0, 53, 0, 8, 0, 0];
    assert_eq!(ports(ipv4(protocol::UDP, &[], &both)), (12_345, 53));
    assert_eq!(ports(ipv6(protocol::TCP, &both)), (12_345, 53));
    assert_eq!(ports(ipv4(protocol::ICMP, &[], &[8, 0, 0, 0, 7, 9, 0, 1])), (0, 0), "an echo has none");
    let mut first = ipv4(protocol::UDP, &[], &both);
    first[20] = 0x20;
    assert_eq!(ports(first), (0, 0), "a first fragment has them, but the kernel does not look");
    let fragment = [&[protocol::UDP, 0, 0, 1, 0, 0, 0, 9][..], &both].concat();
    assert_eq!(ports(ipv6(protocol::FRAGMENT, &fragment)), (0, 0));
}
