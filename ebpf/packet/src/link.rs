//! Messages that any host sends to the routers of its link, whether asked or not.

use crate::{Bytes, Family, Ip, wire::protocol};

/// Such a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkMessage {
    /// Router solicitation (RFC 4861, RFC 1256).
    RouterSolicitation,
    /// IGMP, MLD: who is in which group.
    GroupMembership,
}

/// Kinds of ICMP and of ICMPv6.
const SOLICITATION_V4: u8 = 10;
const SOLICITATION_V6: u8 = 133;
const QUERY: u8 = 130;
const DONE: u8 = 132;
const REPORT_V2: u8 = 143;

/// The message, if this packet is one. MLD comes behind hop-by-hop options (RFC 3810, 5).
#[inline(always)]
#[must_use]
pub fn link_message(bytes: &impl Bytes, ip: &Ip) -> Option<LinkMessage> {
    let (protocol, offset) = match ip.protocol {
        protocol::HOP_BY_HOP if ip.family == Family::V6 => {
            let [next, length]: [u8; 2] = bytes.load(ip.payload.into())?;
            (next, usize::from(ip.payload) + (usize::from(length) + 1) * 8)
        }
        other => (other, ip.payload.into()),
    };
    match (ip.family, protocol) {
        (Family::V4, protocol::IGMP) => Some(LinkMessage::GroupMembership),
        (Family::V4, protocol::ICMP) | (Family::V6, protocol::ICMPV6) => {
            let [kind]: [u8; 1] = bytes.load(offset)?;
            match (ip.family, kind) {
                (Family::V4, SOLICITATION_V4) | (Family::V6, SOLICITATION_V6) => {
                    Some(LinkMessage::RouterSolicitation)
                }
                (Family::V6, QUERY..=DONE | REPORT_V2) => Some(LinkMessage::GroupMembership),
                _ => None,
            }
        }
        _ => None,
    }
}
