//! Forwarding, sizes and ports.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod frames;

use frames::{internet, ip, ipv4, ipv6, udp};
use naru_packet::{Frame, Macs, forward, packet_size, protocol, readdress, udp_port};
use proptest::prelude::*;

const MACS: Macs = Macs { destination: [2, 1, 1, 1, 1, 1], source: [2, 2, 2, 2, 2, 2] };

fn forwarded(frame: &[u8]) -> Vec<u8> {
    let ip = ip(frame);
    let mut out = frame.to_vec();
    forward(&mut Frame::new(&mut out), &ip, MACS).unwrap();
    out
}

#[test]
fn forwarding_changes_addresses_ttl_and_checksum_and_nothing_else() {
    let frame = ipv4(protocol::UDP, &[], &udp(53));
    let mut expected = frame.clone();
    expected[0..12].copy_from_slice(&[2, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]);
    expected[22] = 63;
    expected[24..26].fill(0);
    let sum = internet(&expected[14..34]).to_be_bytes();
    expected[24..26].copy_from_slice(&sum);
    assert_eq!(forwarded(&frame), expected);

    let frame = ipv6(protocol::UDP, &udp(53));
    let mut expected = frame.clone();
    expected[0..12].copy_from_slice(&[2, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]);
    expected[21] = 63;
    assert_eq!(forwarded(&frame), expected);
}

#[test]
fn a_packet_whose_ttl_is_used_up_is_not_forwarded() {
    for (mut frame, ttl) in [(ipv4(protocol::UDP, &[], &udp(53)), 22), (ipv6(protocol::UDP, &udp(53)), 21)] {
        frame[ttl] = 0;
        let ip = ip(&frame);
        assert_eq!(ip.ttl, 0);
        assert!(forward(&mut Frame::new(&mut frame), &ip, MACS).is_err());
    }
}

#[test]
fn a_rewrite_of_a_cut_frame_says_so() {
    let frame = ipv4(protocol::UDP, &[], &udp(53));
    let ip = ip(&frame);
    for length in 0..26 {
        let mut cut = frame[..length].to_vec();
        assert!(forward(&mut Frame::new(&mut cut), &ip, MACS).is_err(), "{length}");
    }
    let mut short = [0; 11];
    assert!(readdress(&mut Frame::new(&mut short), MACS).is_err());
}

#[test]
fn a_port_is_found_behind_whatever_hides_it() {
    let options = |next| vec![next, 0, 1, 4, 0, 0, 0, 0];
    let fragment = |next, offset: u16| [&[next, 0][..], &offset.to_be_bytes(), &[0; 4]].concat();
    let authentication =
        |next| vec![next, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let port = |frame: Vec<u8>| udp_port(&Frame::new(&mut frame.clone()), &ip(&frame));
    let udp = udp(8472);
    assert_eq!(port(ipv4(17, &[], &udp)), Ok(Some(8472)));
    assert_eq!(port(ipv4(17, &[1; 40], &udp)), Ok(Some(8472)));
    assert_eq!(port(ipv6(17, &udp)), Ok(Some(8472)));
    assert_eq!(port(ipv6(60, &[options(17), udp.clone()].concat())), Ok(Some(8472)));
    assert_eq!(port(ipv6(0, &[options(43), options(17), udp.clone()].concat())), Ok(Some(8472)));
    assert_eq!(port(ipv6(44, &[fragment(17, 1), udp.clone()].concat())), Ok(Some(8472)));
    assert_eq!(port(ipv6(44, &[fragment(60, 1), options(17), udp.clone()].concat())), Ok(Some(8472)));
    assert_eq!(port(ipv6(51, &[authentication(17), udp.clone()].concat())), Ok(Some(8472)));
    assert_eq!(port(ipv6(44, &[fragment(17, 8), udp.clone()].concat())), Ok(None), "a later fragment");
    assert_eq!(port(ipv4(6, &[], &udp)), Ok(None));
    assert_eq!(port(ipv6(59, &[])), Ok(None));
}

#[test]
fn a_chain_that_ends_in_the_frames_end_or_never_is_malformed() {
    let endless = [60, 0, 1, 4, 0, 0, 0, 0].repeat(12);
    for frame in
        [ipv6(60, &endless), ipv6(60, &[17, 0, 1, 4, 0, 0, 0, 0]), ipv4(17, &[], &[0; 3]), ipv6(44, &[17])]
    {
        let ip = ip(&frame);
        assert!(udp_port(&Frame::new(&mut frame.clone()), &ip).is_err(), "{frame:02x?}");
    }
}

#[test]
fn segments_are_measured_by_their_headers_and_payload() {
    let size = |frame: Vec<u8>, gso| packet_size(&Frame::segmented(&mut frame.clone(), gso), &ip(&frame));
    let tcp = |words: u8| [&[0; 12][..], &[words << 4], &[0; 87]].concat();
    assert_eq!(size(ipv4(6, &[], &tcp(5)), 1000), 20 + 20 + 1000);
    assert_eq!(size(ipv4(6, &[], &tcp(15)), 1000), 20 + 60 + 1000);
    assert_eq!(size(ipv6(6, &tcp(8)), 1000), 40 + 32 + 1000);
    assert_eq!(size(ipv4(17, &[], &udp(53)), 1000), 20 + 8 + 1000);
    assert_eq!(size(ipv4(132, &[], &[0; 100]), 1000), u32::MAX, "unknown L4 header");
    assert_eq!(size(ipv4(6, &[], &[0; 12]), 1000), u32::MAX, "TCP header cut short");
    assert_eq!(size(ipv4(6, &[], &tcp(5)), 0), 120, "one packet is as long as it says");
}

proptest! {
    #[test]
    fn the_checksum_after_a_decrement_is_that_of_the_new_header(
        header in prop::array::uniform20(any::<u8>()),
        ttl in 1..=255u8,
    ) {
        let mut frame = ipv4(protocol::UDP, &[], &udp(53));
        frame[14 + 4..34].copy_from_slice(&header[4..]);
        frame[22] = ttl;
        frame[24..26].fill(0);
        let sum = internet(&frame[14..34]).to_be_bytes();
        frame[24..26].copy_from_slice(&sum);
        let out = forwarded(&frame);
        prop_assert_eq!(out[22], ttl - 1);
        prop_assert_eq!(internet(&out[14..34]), 0, "{:02x?}", &out[14..34]);
    }
}
