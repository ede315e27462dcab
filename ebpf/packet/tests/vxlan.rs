//! The tunnel's headers around a frame.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod frames;

use frames::{addr, internet, ip, ipv4, ipv6, udp};
use naru_abi::Addr;
use naru_packet::{
    ETHERNET, Family, Frame, Outer, VxlanHeader, outer_traffic_class, protocol, tunnel_overhead,
    vxlan_header, write_outer,
};
use proptest::prelude::*;

const PORT: u16 = 8472;

/// The nodes' addresses.
fn ends(family: Family) -> [Addr; 2] {
    match family {
        Family::V4 => [addr("192.0.2.1"), addr("192.0.2.2")],
        Family::V6 => [addr("2001:db8::1"), addr("2001:db8::2")],
    }
}

fn outer([source, destination]: &[Addr; 2]) -> Outer<'_> {
    Outer { source, destination, source_port: 0xc123, tunnel_port: PORT, vni: 0x12_3456, id: 77 }
}

/// `frame` with room made after its Ethernet header, as the kernel makes it, and the headers in it.
fn around(frame: &[u8], family: Family, class: u8) -> Vec<u8> {
    let mut whole = frame.to_vec();
    whole.splice(ETHERNET..ETHERNET, vec![0xee; tunnel_overhead(family)]);
    write_outer(&mut Frame::new(&mut whole), &outer(&ends(family)), class).unwrap();
    whole[12..14].copy_from_slice(if family == Family::V4 { &[0x08, 0x00] } else { &[0x86, 0xdd] });
    whole
}

#[test]
fn what_is_enclosed_is_found_again_byte_by_byte() {
    for family in [Family::V4, Family::V6] {
        for frame in [ipv4(protocol::UDP, &[], &udp(53)), ipv6(protocol::UDP, &udp(53))] {
            let mut whole = around(&frame, family, 0);
            let around = ip(&whole);
            assert_eq!([around.source, around.destination], ends(family));
            assert_eq!((around.ttl, around.protocol, around.traffic_class), (64, protocol::UDP, 0));
            assert_eq!(whole[tunnel_overhead(family)..], frame);
            let found = vxlan_header(&Frame::new(&mut whole), &around, PORT.into()).unwrap();
            assert_eq!(found, VxlanHeader { vni: 0x12_3456, has_checksum: false, is_plain: true });
            assert_eq!(vxlan_header(&Frame::new(&mut whole), &around, 4789), None, "another port");
        }
    }
}

#[test]
fn flags_reserved_bytes_and_lengths_that_are_not_ours_are_not_plain() {
    for family in [Family::V4, Family::V6] {
        let whole = around(&ipv4(protocol::UDP, &[], &udp(53)), family, 0);
        let header = tunnel_overhead(family) - 16;
        // The UDP length, the four bytes of flags, and the one after the identifier.
        for offset in [4, 5, 8, 9, 10, 11, 15] {
            let mut other = whole.clone();
            other[header + offset] ^= 1;
            let around = ip(&other);
            let found = vxlan_header(&Frame::new(&mut other), &around, PORT.into()).unwrap();
            assert!(!found.is_plain, "byte {offset}");
        }
        let mut checked = whole.clone();
        checked[header + 6] = 1;
        let around = ip(&checked);
        assert!(vxlan_header(&Frame::new(&mut checked), &around, PORT.into()).unwrap().has_checksum);
        let mut padded = [&whole[..], &[0; 4]].concat();
        let around = ip(&padded);
        assert!(!vxlan_header(&Frame::new(&mut padded), &around, PORT.into()).unwrap().is_plain);
    }
}

#[test]
fn a_frame_cut_before_the_inner_one_encloses_nothing() {
    for family in [Family::V4, Family::V6] {
        let whole = around(&ipv4(protocol::UDP, &[], &udp(53)), family, 0);
        let around = ip(&whole);
        for length in ETHERNET..tunnel_overhead(family) {
            let mut cut = whole[..length].to_vec();
            assert_eq!(vxlan_header(&Frame::new(&mut cut), &around, PORT.into()), None, "{length}");
        }
    }
}

#[test]
fn of_the_class_only_the_congestion_bits_go_outside_and_a_mark_is_not_repeated() {
    for class in 0..=255u8 {
        let expected = [0, 1, 2, 2][usize::from(class & 3)];
        assert_eq!(outer_traffic_class(class), expected, "{class:02x}");
    }
    for family in [Family::V4, Family::V6] {
        let whole = around(&ipv4(protocol::UDP, &[], &udp(53)), family, 2);
        assert_eq!(ip(&whole).traffic_class, 2);
    }
}

proptest! {
    #[test]
    fn every_outer_ipv4_header_has_a_right_checksum(
        id in any::<u16>(),
        source in any::<[u8; 4]>(),
        length in 0usize..2000,
    ) {
        let mut whole = vec![0; ETHERNET + tunnel_overhead(Family::V4) + length];
        let ends = [Addr::v4(source), addr("192.0.2.2")];
        let outer = Outer { id, ..outer(&ends) };
        write_outer(&mut Frame::new(&mut whole), &outer, 1).unwrap();
        prop_assert_eq!(internet(&whole[14..34]), 0);
    }
}
