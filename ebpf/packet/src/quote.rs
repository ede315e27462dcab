//! The quote of an ICMP error, cut to what a receiver needs to find the connection that it is about.
//!
//! Of IPv4 that is the quoted header with its options and 8 bytes behind it, as RFC 792 has it. RFC 4443 knows no
//! minimum for IPv6. Its protocols ask for the same: the ports of TCP, UDP and SCTP, the sequence number and the
//! verification tag by which their receivers tell a forged error, and the identifier of an echo are in the first 8
//! bytes, which is also what Linux wants to see there (`icmpv6_notify`). So an IPv6 quote keeps its header, a fragment
//! header behind it, and 8 bytes.

use crate::{
    Bytes, ETHERNET, Family, Ip, Payload,
    flow::ICMP_HEADER,
    nat::{self, add},
    wire::protocol,
};

/// Bytes of the quoted packet's payload that stay.
const KEPT: usize = 8;
/// Offset of the checksum in an ICMP message, and of the four bytes whose meaning depends on its type.
const CHECKSUM: usize = 2;
const REST: usize = 4;
/// Offsets of the length and the checksum in an IPv4 header, and of the payload's length in an IPv6 header.
const V4_LENGTH: usize = ETHERNET + 2;
const V4_CHECKSUM: usize = ETHERNET + 10;
const V6_LENGTH: usize = ETHERNET + 4;
const V6_HEADER: u32 = 40;
/// Words of the longest message with a quote that is cut: of IPv4, whose quoted header has all options.
const WORDS: usize = (ICMP_HEADER + 60 + KEPT) / 4;

/// Returns the length of the frame of an ICMP error whose quote is cut to the minimum; `None` if it quotes less.
#[inline(always)]
#[must_use]
pub fn shortest_error(bytes: &impl Bytes, ip: &Ip) -> Option<u32> {
    let message = Payload::of_frame(bytes, ip).offset;
    let quoted = Payload::of_quote(bytes, ip.family, message + ICMP_HEADER)?;
    let end = (quoted.offset + KEPT) as u32;
    (end <= ETHERNET as u32 + ip.length).then_some(end)
}

/// Corrects lengths and checksums of an ICMP error whose frame was cut to `end`, as [`shortest_error`] says; `ip` is
/// its header as it was. Returns the difference that this makes to a sum over the packet.
#[inline(always)]
pub fn shorten_error(bytes: &mut impl Bytes, ip: &Ip, end: u32) -> Option<u32> {
    let message = Payload::of_frame(bytes, ip).offset;
    let all =
        add(set_length(bytes, ip.family, end - ETHERNET as u32)?, forget_extension(bytes, ip, message)?);
    let old: [u8; 2] = bytes.load(message + CHECKSUM)?;
    bytes.store(message + CHECKSUM, [0u8; 2])?;
    let length = end - message as u32;
    let sum = add(sum(bytes, message, length)?, pseudo_header(ip, length));
    let new = nat::after(u16::MAX, sum);
    bytes.store(message + CHECKSUM, new.to_ne_bytes())?;
    Some(add(all, changed(u16::from_ne_bytes(old), new)))
}

/// Writes the length of the packet from its IP header on; returns the difference.
#[inline(always)]
fn set_length(bytes: &mut impl Bytes, family: Family, length: u32) -> Option<u32> {
    let (at, length) = match family {
        Family::V4 => (V4_LENGTH, length),
        Family::V6 => (V6_LENGTH, length - V6_HEADER),
    };
    let old: [u8; 2] = bytes.load(at)?;
    let new = (length as u16).to_be_bytes();
    bytes.store(at, new)?;
    let difference = changed(u16::from_ne_bytes(old), u16::from_ne_bytes(new));
    if family == Family::V6 {
        return Some(difference);
    }
    let old: [u8; 2] = bytes.load(V4_CHECKSUM)?;
    let checksum = nat::after(u16::from_ne_bytes(old), difference);
    bytes.store(V4_CHECKSUM, checksum.to_ne_bytes())?;
    Some(add(difference, changed(u16::from_ne_bytes(old), checksum)))
}

/// Clears the length of the quote, behind which an extension would be (RFC 4884), in messages that have one; returns
/// the difference.
#[inline(always)]
fn forget_extension(bytes: &mut impl Bytes, ip: &Ip, message: usize) -> Option<u32> {
    let [kind]: [u8; 1] = bytes.load(message)?;
    let at = match (ip.family, kind) {
        (Family::V4, 3 | 11 | 12) => 1,
        (Family::V6, 1 | 3) => 0,
        _ => return Some(0),
    };
    let old: [u8; 2] = bytes.load(message + REST)?;
    let new = if at == 0 { [0, old[1]] } else { [old[0], 0] };
    bytes.store(message + REST, new)?;
    Some(changed(u16::from_ne_bytes(old), u16::from_ne_bytes(new)))
}

/// The sum over a message, whose length is a multiple of four.
#[inline(always)]
fn sum(bytes: &impl Bytes, message: usize, length: u32) -> Option<u32> {
    let mut sum = 0;
    for word in 0..WORDS {
        if (word * 4) as u32 >= length {
            break;
        }
        let next: [u8; 4] = bytes.load(message + word * 4)?;
        sum = add(sum, u32::from_ne_bytes(next));
    }
    Some(sum)
}

/// The sum over what ICMPv6 covers beside its message (RFC 8200, 8.1).
#[inline(always)]
fn pseudo_header(ip: &Ip, length: u32) -> u32 {
    if ip.family == Family::V4 {
        return 0;
    }
    let (source, destination) = (ip.source.as_words(), ip.destination.as_words());
    let mut sum = add(length.to_be(), u32::from(protocol::ICMPV6).to_be());
    for word in 0..4 {
        sum = add(sum, add(source[word], destination[word]));
    }
    sum
}

/// Returns the difference that a changed half-word makes to a sum.
#[inline(always)]
const fn changed(old: u16, new: u16) -> u32 {
    add(new as u32, !(old as u32))
}
