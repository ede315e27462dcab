//! Messages between a host and the routers of its link.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod frames;

use frames::{ip, ipv4, ipv6, udp};
use naru_packet::{
    Frame,
    LinkMessage::{GroupMembership, RouterSolicitation},
    link_message, protocol,
};

/// Hop-by-hop options with a router alert, as before MLD.
const ALERT: [u8; 8] = [protocol::ICMPV6, 0, 5, 2, 0, 0, 1, 0];

#[test]
fn solicitations_and_memberships_are_told_from_all_else_in_both_families() {
    let message = |frame: Vec<u8>| link_message(&Frame::new(&mut frame.clone()), &ip(&frame));
    let icmp = |kind: u8| [kind, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(message(ipv4(protocol::ICMP, &[], &icmp(10))), Some(RouterSolicitation));
    assert_eq!(message(ipv6(protocol::ICMPV6, &icmp(133))), Some(RouterSolicitation));
    assert_eq!(message(ipv4(protocol::IGMP, &[148, 4, 0, 0], &[0x22; 8])), Some(GroupMembership));
    for kind in [130, 131, 132, 143] {
        let behind_options = [ALERT, icmp(kind)].concat();
        assert_eq!(message(ipv6(protocol::HOP_BY_HOP, &behind_options)), Some(GroupMembership), "{kind}");
    }
    for kind in [8, 9, 128, 129, 134, 135, 136, 142] {
        assert_eq!(message(ipv4(protocol::ICMP, &[], &icmp(kind))), None, "{kind}");
        assert_eq!(message(ipv6(protocol::ICMPV6, &icmp(kind))), None, "{kind}");
    }
    assert_eq!(message(ipv4(protocol::ICMPV6, &[], &icmp(133))), None, "of the other family");
    assert_eq!(message(ipv4(protocol::UDP, &[], &udp(5353))), None);
    assert_eq!(message(ipv6(protocol::UDP, &udp(5353))), None);
    assert_eq!(message(ipv6(protocol::HOP_BY_HOP, &ALERT[..2])), None, "cut short");
}
