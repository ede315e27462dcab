//! ICMP errors whose quote is cut to the minimum.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod frames;

use frames::{internet, ip, ipv4, ipv6};
use naru_packet::{Family, Frame, protocol, shorten_error, shortest_error};
use proptest::prelude::*;

/// The sum over addresses, length and message that ICMP's checksum makes 0.
fn sum(family: Family, packet: &[u8]) -> u16 {
    match family {
        Family::V4 => internet(&packet[20..]),
        Family::V6 => {
            let length = u32::try_from(packet.len() - 40).unwrap().to_be_bytes();
            internet(&[&packet[8..40], &length, &[0, 0, 0, protocol::ICMPV6], &packet[40..]].concat())
        }
    }
}

/// An error of this type that quotes a header, with options or a fragment header, and `data` behind it.
fn error(family: Family, kind: u8, is_extended: bool, data: &[u8]) -> Vec<u8> {
    let fragment = [protocol::UDP, 0, 0, 1, 0, 0, 0, 7];
    let quoted = match (family, is_extended) {
        (Family::V4, false) => ipv4(protocol::UDP, &[], data),
        (Family::V4, true) => ipv4(protocol::UDP, &[1; 12], data),
        (Family::V6, false) => ipv6(protocol::UDP, data),
        (Family::V6, true) => ipv6(protocol::FRAGMENT, &[&fragment, data].concat()),
    };
    let mut message = [&[kind, 0, 0, 0, 9, 8, 7, 6][..], &quoted[14..]].concat();
    let framed = |message: &[u8]| match family {
        Family::V4 => ipv4(protocol::ICMP, &[], message),
        Family::V6 => ipv6(protocol::ICMPV6, message),
    };
    let sum = sum(family, &framed(&message)[14..]).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    framed(&message)
}

/// The sum over all of a packet, as a card computes it.
fn over_all(packet: &[u8]) -> u32 {
    let words = packet.chunks(2).map(|pair| u32::from(u16::from_ne_bytes(pair.try_into().unwrap())));
    words.sum()
}

/// The same number, of those that a sum may stand for.
fn folded(sum: u64) -> u16 {
    let mut sum = sum;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    if sum == 0xffff { 0 } else { u16::try_from(sum).unwrap() }
}

proptest! {
    #[test]
    fn a_cut_error_has_eight_bytes_behind_the_quoted_headers_and_right_lengths_and_checksums(
        is_v4: bool,
        kind in prop::sample::select(vec![1u8, 2, 3, 4, 5, 11, 12]),
        is_extended: bool,
        data in prop::collection::vec(any::<u8>(), 8..600),
    ) {
        let family = if is_v4 { Family::V4 } else { Family::V6 };
        let mut frame = error(family, kind, is_extended, &data);
        let ip = ip(&frame);
        let end = shortest_error(&Frame::new(&mut frame), &ip).unwrap() as usize;
        let (outer, extension) = if is_v4 { (20, 12) } else { (40, 8) };
        let headers = outer + 8 + outer + if is_extended { extension } else { 0 };
        prop_assert_eq!(end, 14 + headers + 8);
        frame.truncate(end);
        let before = over_all(&frame[14..]);
        let difference = shorten_error(&mut Frame::new(&mut frame), &ip, end as u32).unwrap();
        let packet = &frame[14..];
        prop_assert_eq!(frames::ip(&frame).length as usize, packet.len());
        prop_assert_eq!(sum(family, packet), 0);
        if is_v4 {
            prop_assert_eq!(internet(&packet[..20]), 0);
        }
        let all = u64::from(before) + u64::from(difference);
        prop_assert_eq!(folded(all), folded(over_all(packet).into()));
        let kept = if is_v4 { [3, 11, 12].contains(&kind) } else { [1, 3].contains(&kind) };
        let rest: [u8; 4] = if !kept { [9, 8, 7, 6] } else if is_v4 { [9, 0, 7, 6] } else { [0, 8, 7, 6] };
        prop_assert_eq!(&packet[outer + 4..outer + 8], &rest);
        prop_assert_eq!(&packet[headers..], &data[..8]);
    }
}

#[test]
fn an_error_that_quotes_less_than_the_minimum_is_not_cut() {
    for family in [Family::V4, Family::V6] {
        for length in 0..8 {
            let mut frame = error(family, 3, false, &vec![1; length]);
            let ip = ip(&frame);
            assert_eq!(shortest_error(&Frame::new(&mut frame), &ip), None, "{family:?} {length}");
            // What lies behind the packet in the frame is no part of it.
            frame.extend([0; 40]);
            assert_eq!(shortest_error(&Frame::new(&mut frame), &ip), None, "{family:?} {length}");
        }
    }
}
