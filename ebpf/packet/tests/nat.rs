//! Translation of addresses and ports, with checksums.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod frames;

use frames::{internet, ip, ipv4, ipv6};
use naru_abi::{Addr, flow_state};
use naru_packet::{
    End, Family, Frame, Part, Payload, Translation, protocol, step,
    step_flags::{ACCEPTS, OPENS},
    translate, translate_error, translate_quote,
};
use proptest::prelude::*;

const NEW_V4: Addr = Addr::v4([10, 96, 0, 10]);
const NEW_V6: Addr = Addr::v6([0xfd, 0x96, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);

fn framed(family: Family, protocol: u8, payload: &[u8]) -> Vec<u8> {
    match family {
        Family::V4 => ipv4(protocol, &[], payload),
        Family::V6 => ipv6(protocol, payload),
    }
}

fn address(family: Family) -> Addr {
    if family == Family::V4 { NEW_V4 } else { NEW_V6 }
}

/// Returns the offset of the payload in a frame without extensions.
const fn payload(family: Family) -> usize {
    if matches!(family, Family::V4) { 34 } else { 54 }
}

/// The sum that an L4 checksum makes right, 0 if it is.
fn sum(family: Family, protocol: u8, packet: &[u8]) -> u16 {
    let (addresses, begin) = if family == Family::V4 { (12..20, 20) } else { (8..40, 40) };
    let length = u32::try_from(packet.len() - begin).unwrap().to_be_bytes();
    let pseudo = [&packet[addresses], &length, &[0, 0, 0, protocol], &packet[begin..]].concat();
    internet(&pseudo)
}

/// A TCP or UDP packet with its checksum.
fn segment(family: Family, protocol: u8, data: &[u8]) -> Vec<u8> {
    let (length, at) = if protocol == protocol::TCP { (20, 16) } else { (8, 6) };
    let mut segment = [&[0x13, 0x88, 0, 80][..], &vec![0; length - 4], data].concat();
    if protocol == protocol::TCP {
        segment[12] = 5 << 4;
    } else {
        let length = u16::try_from(segment.len()).unwrap();
        segment[4..6].copy_from_slice(&length.to_be_bytes());
    }
    let frame = framed(family, protocol, &segment);
    let sum = match sum(family, protocol, &frame[14..]) {
        0 if protocol == protocol::UDP => u16::MAX,
        sum => sum,
    };
    segment[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    framed(family, protocol, &segment)
}

fn to(family: Family, end: End, ports: (u16, u16)) -> Translation {
    Translation { end, address: address(family), source_port: ports.0, destination_port: ports.1 }
}

fn translated(frame: &[u8], to: &Translation) -> Vec<u8> {
    let (mut out, ip) = (frame.to_vec(), ip(frame));
    let payload = Payload::of_frame(&Frame::new(&mut out.clone()), &ip);
    translate(&mut Frame::new(&mut out), &ip, payload, to).unwrap();
    let now = frames::ip(&out);
    let other = if to.end == End::Source { now.source } else { now.destination };
    assert_eq!(other, to.address);
    out
}

#[test]
fn a_translated_packet_is_the_one_that_would_have_been_sent_so() {
    for family in [Family::V4, Family::V6] {
        for protocol in [protocol::TCP, protocol::UDP] {
            for end in [End::Source, End::Destination] {
                let frame = segment(family, protocol, b"forty-two");
                let out = translated(&frame, &to(family, end, (7, 65_535)));
                assert_eq!(out[payload(family)..][..4], [0, 7, 0xff, 0xff]);
                assert_eq!(sum(family, protocol, &out[14..]), 0, "{family:?} {protocol} {end:?}");
                if family == Family::V4 {
                    assert_eq!(internet(&out[14..34]), 0);
                }
                let changed = frame.iter().zip(&out).filter(|(old, new)| old != new).count();
                assert!(changed <= 16 + 4 + 2 + 2, "{changed} bytes");
            }
        }
    }
}

#[test]
fn a_udp_checksum_that_is_not_used_is_not_made_up() {
    let mut frame = segment(Family::V4, protocol::UDP, b"x");
    frame[payload(Family::V4) + 6..][..2].fill(0);
    let out = translated(&frame, &to(Family::V4, End::Source, (1, 2)));
    assert_eq!(out[payload(Family::V4) + 6..][..2], [0, 0]);
}

#[test]
fn sctp_is_translated_by_its_addresses_alone() {
    for family in [Family::V4, Family::V6] {
        let frame = framed(family, protocol::SCTP, &[0x13, 0x88, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8, 1, 0, 0, 4]);
        let out = translated(&frame, &to(family, End::Destination, (5000, 80)));
        assert_eq!(out[payload(family)..], frame[payload(family)..]);
        let ip = ip(&frame);
        let mut out = frame.clone();
        let payload = Payload::of_frame(&Frame::new(&mut frame.clone()), &ip);
        let other_port = to(family, End::Destination, (5000, 81));
        assert!(translate(&mut Frame::new(&mut out), &ip, payload, &other_port).is_err());
    }
}

#[test]
fn a_later_fragment_gets_its_address_and_keeps_its_bytes() {
    let mut frame = segment(Family::V4, protocol::UDP, b"a part of a datagram");
    frame[14 + 6..14 + 8].copy_from_slice(&[0x00, 0x20]);
    frame[14 + 10..14 + 12].fill(0);
    let sum = internet(&frame[14..34]).to_be_bytes();
    frame[14 + 10..14 + 12].copy_from_slice(&sum);
    let out = translated(&frame, &to(Family::V4, End::Source, (1, 2)));
    assert_eq!(out[34..], frame[34..]);
    assert_eq!(internet(&out[14..34]), 0);
    assert_eq!(out[26..30], [10, 96, 0, 10]);
}

/// A packet the other way, with ports as in [`segment`] and no Ethernet header.
fn opposite(family: Family, protocol: u8, data: &[u8]) -> Vec<u8> {
    let mut packet = segment(family, protocol, data)[14..].to_vec();
    let (begin, length) = if family == Family::V4 { (12, 4) } else { (8, 16) };
    packet[begin..begin + 2 * length].rotate_left(length);
    packet
}

/// An ICMP error about `quoted`, a packet the other way.
fn error(family: Family, quoted: &[u8]) -> Vec<u8> {
    let kind = if family == Family::V4 { [3, 3] } else { [1, 4] };
    let mut message = [&kind[..], &[0; 6], quoted].concat();
    let protocol = if family == Family::V4 { protocol::ICMP } else { protocol::ICMPV6 };
    let frame = framed(family, protocol, &message);
    let sum = if family == Family::V4 { internet(&message) } else { sum(family, protocol, &frame[14..]) };
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    framed(family, protocol, &message)
}

#[test]
fn an_error_quotes_what_its_reader_has_sent() {
    for (family, protocol, cut) in [
        (Family::V4, protocol::UDP, usize::MAX),
        (Family::V4, protocol::TCP, usize::MAX),
        (Family::V4, protocol::TCP, 28),
        (Family::V6, protocol::UDP, usize::MAX),
        (Family::V6, protocol::TCP, 48),
    ] {
        for end in [End::Source, End::Destination] {
            let quoted = opposite(family, protocol, b"payload");
            let frame = error(family, &quoted[..quoted.len().min(cut)]);
            let mut out = frame.clone();
            let outer = ip(&frame);
            let peer = if end == End::Source { outer.source } else { outer.destination };
            let message = Payload::of_frame(&Frame::new(&mut frame.clone()), &outer);
            let to = to(family, end, (53, 999));
            translate_quote(&mut Frame::new(&mut out), &outer, message, &peer, &to).unwrap();
            translate_error(&mut Frame::new(&mut out), &outer, message, &peer, &to).unwrap();
            let begin = payload(family);
            let whole = if family == Family::V4 {
                internet(&out[begin..])
            } else {
                sum(family, protocol::ICMPV6, &out[14..])
            };
            assert_eq!(whole, 0, "{family:?} {protocol} {end:?}: checksum of the message");
            let outer = ip(&out);
            let inner = &out[begin + 8..];
            let reader = if end == End::Source { outer.source } else { outer.destination };
            assert_eq!(reader, to.address, "the error comes from the same end");
            let header = begin - 14;
            assert_eq!(inner[header..header + 4], [999u16.to_be_bytes(), 53u16.to_be_bytes()].concat());
            if family == Family::V4 {
                assert_eq!(internet(&inner[..20]), 0, "header of the quote");
            }
            if cut == usize::MAX {
                assert_eq!(sum(family, protocol, inner), 0, "{family:?} {protocol} {end:?}: quote");
            }
        }
    }
}

#[test]
fn a_routers_error_stays_the_routers() {
    let mut frame = error(Family::V4, &opposite(Family::V4, protocol::UDP, b"payload"));
    let peer = ip(&frame).source;
    frame[24..30].copy_from_slice(&[0, 0, 9, 9, 9, 9]);
    let sum = internet(&frame[14..34]).to_be_bytes();
    frame[24..26].copy_from_slice(&sum);
    let (mut out, outer) = (frame.clone(), ip(&frame));
    let message = Payload::of_frame(&Frame::new(&mut frame.clone()), &outer);
    let to = to(Family::V4, End::Source, (53, 999));
    translate_quote(&mut Frame::new(&mut out), &outer, message, &peer, &to).unwrap();
    translate_error(&mut Frame::new(&mut out), &outer, message, &peer, &to).unwrap();
    assert_eq!(out[26..34], frame[26..34]);
    assert_eq!(internet(&out[34..]), 0);
}

#[test]
fn a_cut_packet_is_refused_wherever_it_ends() {
    for family in [Family::V4, Family::V6] {
        let frame = segment(family, protocol::TCP, b"");
        let whole = ip(&frame);
        let payload = Payload::of_frame(&Frame::new(&mut frame.clone()), &whole);
        for length in 14..payload.offset + 17 {
            let (mut cut, ip) = (frame[..length].to_vec(), whole);
            let to = to(family, End::Source, (1, 2));
            assert!(translate(&mut Frame::new(&mut cut), &ip, payload, &to).is_err(), "{length}");
        }
    }
}

#[test]
fn a_flow_begins_and_ends_as_its_protocol_says() {
    let of = |protocol, at: usize, byte| {
        let mut payload = vec![0; 20];
        payload[at] = byte;
        let frame = ipv4(protocol, &[], &payload);
        let part = Payload { protocol, offset: 34, part: Part::Whole };
        step(&Frame::new(&mut frame.clone()), part)
    };
    let tcp = |flags| of(protocol::TCP, 13, flags);
    assert_eq!((tcp(2), tcp(0x12), tcp(0x10)), (OPENS, ACCEPTS, 0));
    assert_eq!((tcp(0x11), tcp(0x14)), (flow_state::FINISHED, flow_state::RESET | ACCEPTS));
    let sctp = |chunk| of(protocol::SCTP, 12, chunk);
    assert_eq!((sctp(1), sctp(2), sctp(0)), (OPENS, ACCEPTS, 0));
    assert_eq!((sctp(7), sctp(14)), (flow_state::FINISHED, flow_state::RESET | ACCEPTS));
    assert_eq!(of(protocol::UDP, 0, 0), OPENS | ACCEPTS);
}

proptest! {
    #[test]
    fn checksums_are_right_after_any_translation(
        data in prop::collection::vec(any::<u8>(), 0..64),
        octets in any::<[u8; 16]>(),
        ports in any::<(u16, u16)>(),
        is_v4 in any::<bool>(),
        is_tcp in any::<bool>(),
    ) {
        let family = if is_v4 { Family::V4 } else { Family::V6 };
        let protocol = if is_tcp { protocol::TCP } else { protocol::UDP };
        let address = if is_v4 { Addr::v4([octets[0], octets[1], octets[2], octets[3]]) } else { Addr::v6(octets) };
        prop_assume!(is_v4 || !address.is_v4());
        let to = Translation { address, ..to(family, End::Destination, ports) };
        let out = translated(&segment(family, protocol, &data), &to);
        prop_assert_eq!(sum(family, protocol, &out[14..]), 0);
        if is_v4 {
            prop_assert_eq!(internet(&out[14..34]), 0);
        }
    }

    #[test]
    fn no_byte_of_an_error_makes_its_translation_panic(at in 14..90usize, byte: u8, is_v4: bool) {
        let family = if is_v4 { Family::V4 } else { Family::V6 };
        let mut frame = error(family, &opposite(family, protocol::TCP, b""));
        let outer = ip(&frame);
        let end = frame.len() - 1;
        frame[at.min(end)] = byte;
        let message = Payload::of_frame(&Frame::new(&mut frame.clone()), &outer);
        let to = to(family, End::Source, (1, 2));
        let _ = translate_quote(&mut Frame::new(&mut frame), &outer, message, &outer.source, &to);
    }
}
