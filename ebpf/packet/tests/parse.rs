//! Reading headers: what is seen, and that nothing beyond the frame is.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod frames;

use frames::{addr, ethernet, ip, ipv4, ipv6, ipv6_between, read_all, udp, v6};
use naru_packet::{Content, Family, Frame, Malformed, parse, protocol};
use proptest::prelude::*;

fn refused(mut frame: Vec<u8>) -> bool {
    parse(&Frame::new(&mut frame)) == Err(Malformed)
}

#[test]
fn an_ipv4_header_is_read_field_by_field() {
    let ip = ip(&ipv4(protocol::UDP, &[], &udp(53)));
    assert_eq!((ip.family, ip.source, ip.destination), (Family::V4, addr("10.1.0.1"), addr("10.1.0.2")));
    assert_eq!((ip.ttl, ip.protocol, ip.length, ip.payload), (64, protocol::UDP, 32, 34));
    assert!(!ip.extended && !ip.later_fragment);
}

#[test]
fn an_ipv6_header_is_read_field_by_field() {
    let ip = ip(&ipv6(protocol::UDP, &udp(53)));
    assert_eq!((ip.family, ip.source, ip.destination), (Family::V6, addr("fd00::1"), addr("fd00::2")));
    assert_eq!((ip.ttl, ip.protocol, ip.length, ip.payload), (64, protocol::UDP, 52, 54));
    assert!(!ip.extended && !ip.later_fragment);
}

#[test]
fn options_and_extension_headers_are_seen_and_the_fragment_header_is_none() {
    let with_options = ip(&ipv4(protocol::UDP, &[7, 3, 4, 0], &udp(53)));
    assert!(with_options.extended);
    assert_eq!(with_options.payload, 38);
    for next in [0, 43, 51, 60, 135, 139, 140] {
        assert!(ip(&ipv6(next, &[0; 8])).extended, "{next}");
    }
    for next in [protocol::FRAGMENT, protocol::TCP, protocol::UDP, protocol::ICMPV6, 47, 50, 59, 132] {
        assert!(!ip(&ipv6(next, &[0; 8])).extended, "{next}");
    }
}

#[test]
fn only_an_ipv4_fragment_with_an_offset_lacks_its_l4_header() {
    for (fragment, later) in
        [(0x0000u16, false), (0x4000, false), (0x2000, false), (0x2001, true), (0x00b9, true)]
    {
        let mut frame = ipv4(protocol::UDP, &[], &udp(53));
        frame[20..22].copy_from_slice(&fragment.to_be_bytes());
        assert_eq!(ip(&frame).later_fragment, later, "{fragment:04x}");
    }
}

#[test]
fn a_frame_of_neither_family_is_told_apart_from_arp() {
    let content = |mut frame: Vec<u8>| parse(&Frame::new(&mut frame)).unwrap().content;
    assert_eq!(content(ethernet(0x0806, &[0; 28])), Content::Arp);
    assert_eq!(content(ethernet(0x88cc, &[])), Content::Other);
    assert_eq!(content(ethernet(0x8100, &[0; 60])), Content::Other);
}

#[test]
fn headers_that_contradict_the_frame_or_each_other_are_malformed() {
    let good = ipv4(protocol::UDP, &[], &udp(53));
    for (offset, byte) in [(14, 0x55), (14, 0x44), (14, 0x4f), (17, 19), (17, 33), (16, 1)] {
        let mut frame = good.clone();
        frame[offset] = byte;
        assert!(refused(frame), "byte {offset} = {byte:02x}");
    }
    let good = ipv6(protocol::UDP, &udp(53));
    for (offset, byte) in [(14, 0x40), (19, 13), (18, 1)] {
        let mut frame = good.clone();
        frame[offset] = byte;
        assert!(refused(frame), "byte {offset} = {byte:02x}");
    }
}

#[test]
fn an_ipv4_mapped_address_is_no_ipv6_address() {
    let (mapped, good) = (v6("::ffff:10.1.0.1"), v6("fd00::1"));
    assert!(refused(ipv6_between(&mapped, &good, 59, &[])));
    assert!(refused(ipv6_between(&good, &mapped, 59, &[])));
}

#[test]
fn padding_behind_a_packet_is_no_part_of_it() {
    let mut frame = ipv4(protocol::UDP, &[], &udp(53));
    frame.resize(60, 0);
    assert_eq!(ip(&frame).length, 32);
}

#[test]
fn a_frame_of_segments_may_say_any_length_but_not_lack_its_header() {
    let mut frame = ipv4(protocol::TCP, &[], &[0; 40]);
    frame[16..18].fill(0);
    assert!(parse(&Frame::segmented(&mut frame, 20)).is_ok());
    frame.truncate(33);
    assert_eq!(parse(&Frame::segmented(&mut frame, 20)), Err(Malformed));
}

#[test]
fn a_frame_cut_anywhere_before_its_end_is_malformed() {
    let frames = [
        ipv4(protocol::UDP, &[], &udp(53)),
        ipv4(protocol::UDP, &[7, 3, 4, 0], &udp(53)),
        ipv6(protocol::UDP, &udp(53)),
        ipv6(60, &[17, 0, 1, 4, 0, 0, 0, 0]),
    ];
    for frame in frames {
        for length in 0..frame.len() {
            assert!(refused(frame[..length].to_vec()), "{length} of {}", frame.len());
        }
        assert!(!refused(frame));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_reading_panic(mut frame in prop::collection::vec(any::<u8>(), 0..200), gso in 0..2000u32) {
        read_all(&mut frame, gso);
    }

    #[test]
    fn no_bytes_behind_a_good_start_make_reading_panic(
        kind in 0..3usize, tail in prop::collection::vec(any::<u8>(), 0..150), cut in 0..200usize, gso in 0..100u32,
    ) {
        let ethertype = [0x0800, 0x86dd, 0x0806][kind];
        let version = [0x45, 0x60, 0x00][kind];
        let mut frame = ethernet(ethertype, &[&[version][..], &tail].concat());
        frame.truncate(cut.max(1));
        read_all(&mut frame, gso);
    }

    #[test]
    fn what_is_parsed_lies_within_the_frame(frame in prop::collection::vec(any::<u8>(), 14..120), v6 in any::<bool>()) {
        let mut frame = frame;
        frame[12..14].copy_from_slice(if v6 { &[0x86, 0xdd] } else { &[0x08, 0x00] });
        if let Some(byte) = frame.get_mut(14) {
            *byte = if v6 { 0x60 } else { 0x45 + (*byte & 3) };
        }
        let length = frame.len();
        if let Ok(parsed) = parse(&Frame::new(&mut frame))
            && parsed.content == Content::Ip
        {
            let ip = parsed.ip;
            prop_assert!(usize::from(ip.payload) <= length);
            prop_assert!(ip.length as usize <= length - 14);
        }
    }
}
