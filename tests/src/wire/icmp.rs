//! Echo requests, their replies, and errors about them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{checksum, ip};

/// An ICMP or ICMPv6 message that concerns an echo request of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message<'a> {
    /// The reply, with its data.
    Reply(&'a [u8]),
    /// Time exceeded in transit.
    TimeExceeded,
    /// Fragmentation needed, or packet too big, with the reported MTU.
    TooBig(u32),
    /// Destination unreachable for another reason, by code.
    Unreachable(u8),
}

/// An echo request. If `addresses` is `None` it has no valid checksum (the kernel fills it in for ICMPv6 on raw
/// sockets); else the packet is built wholly by hand, with its checksum.
#[must_use]
pub fn echo_request(
    v6: bool,
    id: u16,
    sequence: u16,
    data: &[u8],
    addresses: Option<(IpAddr, IpAddr)>,
) -> Vec<u8> {
    let kind = if v6 { 128 } else { 8 };
    let mut message = vec![kind, 0, 0, 0];
    message.extend(id.to_be_bytes());
    message.extend(sequence.to_be_bytes());
    message.extend(data);
    let pseudo = match addresses {
        Some((source, destination)) if v6 => {
            checksum::pseudo_header(source, destination, ip::ICMPV6, message.len())
        }
        _ => Vec::new(),
    };
    let sum = checksum::internet(&[&pseudo, &message]).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    message
}

/// Reads a message that concerns the echo request `id`: returns its sequence number and the message.
#[must_use]
pub fn parse(v6: bool, message: &[u8], id: u16) -> Option<(u16, Message<'_>)> {
    let (kind, code) = (*message.first()?, *message.get(1)?);
    let own = |echo: &[u8], kind: u8| {
        let matches = *echo.first()? == kind && echo.get(4..6)? == id.to_be_bytes();
        let sequence = echo.get(6..8)?;
        matches.then(|| u16::from_be_bytes([sequence[0], sequence[1]]))
    };
    if kind == if v6 { 129 } else { 0 } {
        return Some((own(message, kind)?, Message::Reply(message.get(8..)?)));
    }
    let inner = message.get(8..)?;
    let sequence = own(if v6 { v6_echo(inner)? } else { ip::v4_payload(inner) }, if v6 { 128 } else { 8 })?;
    let word = u32::from_be_bytes(message.get(4..8)?.try_into().ok()?);
    let said = match (v6, kind, code) {
        (false, 11, 0) | (true, 3, 0) => Message::TimeExceeded,
        (false, 3, 4) => Message::TooBig(word & 0xffff),
        (true, 2, _) => Message::TooBig(word),
        (false, 3, code) | (true, 1, code) => Message::Unreachable(code),
        _ => return None,
    };
    Some((sequence, said))
}

/// The echo message inside a quoted IPv6 packet, behind a fragment header if there is one.
fn v6_echo(packet: &[u8]) -> Option<&[u8]> {
    const FRAGMENT: u8 = 44;
    match *packet.get(6)? {
        ip::ICMPV6 => packet.get(40..),
        FRAGMENT => packet.get(48..),
        _ => None,
    }
}

/// An unsolicited ARP reply: `claimed` is at `mac`.
#[must_use]
pub fn arp_reply(mac: [u8; 6], claimed: Ipv4Addr, target_mac: [u8; 6], target: Ipv4Addr) -> Vec<u8> {
    [&[0, 1, 8, 0, 6, 4, 0, 2][..], &mac, &claimed.octets(), &target_mac, &target.octets()].concat()
}

/// An unsolicited neighbour advertisement: `claimed` is at `mac`.
#[must_use]
pub fn neighbour_advertisement(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    claimed: Ipv6Addr,
    mac: [u8; 6],
) -> Vec<u8> {
    let mut message = [&[136, 0, 0, 0, 0x20, 0, 0, 0][..], &claimed.octets(), &[2, 1], &mac].concat();
    let pseudo = checksum::pseudo_header(source.into(), destination.into(), ip::ICMPV6, message.len());
    let sum = checksum::internet(&[&pseudo, &message]).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    let mut packet = ip::packet(source.into(), destination.into(), ip::ICMPV6, &message);
    packet[7] = 255;
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_matched_with_the_request_it_quotes() {
        let request = echo_request(false, 7, 3, b"data", None);
        let quoted = ip::packet([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), ip::ICMP, &request);
        let error = [&[3, 4, 0, 0, 0, 0, 0x05, 0xaa][..], &quoted].concat();
        assert_eq!(parse(false, &error, 7), Some((3, Message::TooBig(1450))));
        assert_eq!(parse(false, &error, 8), None);
    }

    #[test]
    fn a_request_is_not_taken_for_its_reply() {
        let mut message = echo_request(true, 7, 3, b"data", None);
        assert_eq!(parse(true, &message, 7), None);
        message[0] = 129;
        assert_eq!(parse(true, &message, 7), Some((3, Message::Reply(b"data"))));
    }

    #[test]
    fn messages_cut_short_are_nobodys() {
        let request = echo_request(true, 7, 3, b"", None);
        let quoted = ip::packet("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap(), ip::ICMPV6, &request);
        let error = [&[3, 0, 0, 0, 0, 0, 0, 0][..], &quoted].concat();
        assert_eq!(parse(true, &error, 7), Some((3, Message::TimeExceeded)));
        for length in 0..error.len() {
            assert_eq!(parse(true, &error[..length], 7), None, "{length}");
        }
    }
}
