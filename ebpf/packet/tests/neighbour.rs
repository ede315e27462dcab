//! ARP and neighbour discovery: what a message says, and how it is answered.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod frames;

use frames::{addr, ethernet, internet, ip, ipv6_between, v6};
use naru_packet::{Discovery, Frame, Ip, Malformed, answer, discovery, is_discovery};
use proptest::prelude::*;

const HOST: [u8; 6] = [2, 9, 9, 9, 9, 9];
const ASKER: [u8; 6] = [2, 0, 0, 0, 0, 2];

fn arp(operation: u8, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    ethernet(0x0806, &[&[0, 1, 8, 0, 6, 4, 0, operation][..], &ASKER, &sender, &[0; 6], &target].concat())
}

fn icmpv6(kind: u8, source: &str, target: &str, option: &[u8]) -> Vec<u8> {
    let message = [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &v6(target), option].concat();
    let mut frame = ipv6_between(&v6(source), &v6("ff02::1:ff00:1"), 58, &message);
    frame[21] = 255;
    checked(frame)
}

/// The frame with the checksum of its ICMPv6 message: the answer's is made from it.
fn checked(mut frame: Vec<u8>) -> Vec<u8> {
    frame[56..58].fill(0);
    let sum = icmpv6_sum(&frame).to_be_bytes();
    frame[56..58].copy_from_slice(&sum);
    frame
}

fn solicitation() -> Vec<u8> {
    icmpv6(135, "fd00::1", "fe80::1", &[&[1, 1][..], &ASKER].concat())
}

fn says(frame: &[u8], ip: Option<Ip>) -> Result<Discovery, Malformed> {
    let mut said = Discovery::NONE;
    discovery(&Frame::new(&mut frame.to_vec()), ip.as_ref(), &mut said).map(|()| said)
}

#[test]
fn an_arp_message_asks_announces_or_probes() {
    let (own, other) = ([10, 1, 0, 1], [169, 254, 1, 1]);
    let (own_addr, other_addr) = (addr("10.1.0.1"), addr("169.254.1.1"));
    let claim = Discovery { own: own_addr, asked: own_addr };
    assert_eq!(says(&arp(1, own, other), None), Ok(Discovery { own: own_addr, asked: other_addr }));
    assert_eq!(says(&arp(1, [0; 4], own), None), Ok(claim));
    for frame in [arp(1, own, own), arp(2, own, other), arp(2, own, own)] {
        assert_eq!(says(&frame, None), Ok(claim));
    }
    assert_eq!(says(&arp(3, own, other), None), Err(Malformed));
}

#[test]
fn arp_for_other_addresses_than_ipv4_over_ethernet_is_malformed() {
    for (offset, byte) in [(15, 6), (16, 0x86), (18, 8), (19, 16)] {
        let mut frame = arp(1, [10, 1, 0, 1], [169, 254, 1, 1]);
        frame[offset] = byte;
        assert_eq!(says(&frame, None), Err(Malformed), "byte {offset}");
    }
}

#[test]
fn a_solicitation_asks_and_an_advertisement_announces() {
    let frame = solicitation();
    let ask = Discovery { own: addr("fd00::1"), asked: addr("fe80::1") };
    assert_eq!(says(&frame, Some(ip(&frame))), Ok(ask));
    let frame = icmpv6(136, "fd00::1", "fd00::7", &[]);
    assert_eq!(
        says(&frame, Some(ip(&frame))),
        Ok(Discovery { own: addr("fd00::7"), asked: addr("fd00::7") })
    );
}

#[test]
fn other_icmpv6_and_other_protocols_are_no_neighbour_discovery() {
    let is_discovery = |frame: &[u8]| is_discovery(&Frame::new(&mut frame.to_vec()), &ip(frame));
    assert_eq!(is_discovery(&solicitation()), Ok(true));
    for kind in [1, 128, 129, 133, 134, 137, 143] {
        assert_eq!(is_discovery(&icmpv6(kind, "fd00::1", "fe80::1", &[])), Ok(false), "{kind}");
    }
    assert_eq!(is_discovery(&frames::ipv6(17, &frames::udp(53))), Ok(false));
    assert_eq!(is_discovery(&frames::ipv6(58, &[])), Err(Malformed));
}

#[test]
fn a_message_from_beyond_the_link_or_of_another_code_is_malformed() {
    let mut far = solicitation();
    far[21] = 254;
    let mut code = solicitation();
    code[55] = 1;
    for frame in [far, code] {
        assert_eq!(says(&frame, Some(ip(&frame))), Err(Malformed));
    }
}

#[test]
fn the_answer_to_arp_goes_back_to_the_asker() {
    let mut frame = arp(1, [10, 1, 0, 1], [169, 254, 1, 1]);
    answer(&mut Frame::new(&mut frame), None, HOST).unwrap();
    let expected = [&[0, 1, 8, 0, 6, 4, 0, 2][..], &HOST, &[169, 254, 1, 1], &ASKER, &[10, 1, 0, 1]].concat();
    assert_eq!(frame[..6], ASKER);
    assert_eq!(frame[6..12], HOST);
    assert_eq!(frame[14..], expected);
}

/// Sum over pseudo header and message, zero where the checksum is right.
fn icmpv6_sum(frame: &[u8]) -> u16 {
    let message = &frame[54..];
    let pseudo = [&frame[22..54], &(message.len() as u32).to_be_bytes(), &[0, 0, 0, 58]].concat();
    internet(&[&pseudo[..], message].concat())
}

#[test]
fn the_answer_to_a_solicitation_is_a_solicited_advertisement_with_a_right_checksum() {
    let mut frame = solicitation();
    let asked = ip(&frame);
    answer(&mut Frame::new(&mut frame), Some(&asked), HOST).unwrap();
    let answered = ip(&frame);
    assert_eq!((answered.source, answered.destination), (addr("fe80::1"), addr("fd00::1")));
    assert_eq!((answered.ttl, frame[54], frame[58]), (255, 136, 0xe0));
    assert_eq!(frame[62..78], v6("fe80::1"));
    assert_eq!(frame[78..], [&[2, 1][..], &HOST].concat());
    assert_eq!(icmpv6_sum(&frame), 0);
}

#[test]
fn a_question_without_a_link_address_is_answered_without_one() {
    let mut frame = icmpv6(135, "fd00::1", "fe80::1", &[]);
    let asked = ip(&frame);
    answer(&mut Frame::new(&mut frame), Some(&asked), HOST).unwrap();
    assert_eq!(frame.len(), 78);
    assert_eq!(icmpv6_sum(&frame), 0);
}

#[test]
fn a_question_with_other_options_is_malformed() {
    for option in
        [&[14, 1, 0, 0, 0, 0, 0, 0][..], &[1, 2, 0, 0, 0, 0, 0, 0], &[1, 1, 0, 0, 0, 0, 0, 0, 5, 1], &[1]]
    {
        let mut frame = icmpv6(135, "fd00::1", "fe80::1", option);
        let asked = ip(&frame);
        assert_eq!(answer(&mut Frame::new(&mut frame), Some(&asked), HOST), Err(Malformed), "{option:02x?}");
    }
}

#[test]
fn messages_cut_anywhere_are_malformed_and_never_answered() {
    let whole = arp(1, [10, 1, 0, 1], [169, 254, 1, 1]);
    for length in 14..whole.len() {
        let mut frame = whole[..length].to_vec();
        assert_eq!(says(&frame, None), Err(Malformed), "{length}");
        assert_eq!(answer(&mut Frame::new(&mut frame), None, HOST), Err(Malformed), "{length}");
        assert_eq!(frame, whole[..length]);
    }
    let whole = solicitation();
    let asked = ip(&whole);
    for length in 14..whole.len() {
        let mut frame = whole[..length].to_vec();
        assert_eq!(answer(&mut Frame::new(&mut frame), Some(&asked), HOST), Err(Malformed), "{length}");
    }
}

proptest! {
    #[test]
    fn every_answer_has_a_right_checksum(
        source in prop::array::uniform16(any::<u8>()),
        mac in prop::array::uniform6(any::<u8>()),
    ) {
        prop_assume!(naru_abi::Addr::v6(source).as_v4().is_none());
        let mut frame = solicitation();
        frame[22..38].copy_from_slice(&source);
        let mut frame = checked(frame);
        let asked = ip(&frame);
        answer(&mut Frame::new(&mut frame), Some(&asked), mac).unwrap();
        prop_assert_eq!(icmpv6_sum(&frame), 0);
    }
}
