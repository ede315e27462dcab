//! Translation of addresses and ports: of a packet, and of the one that an ICMP error quotes.
//!
//! Checksums are updated by the difference that a change makes (RFC 1624). Words are taken as they are in memory: the
//! sum of ones' complements is the same in either byte order.

use naru_abi::Addr;

use crate::{
    Bytes, ETHERNET, Family, Ip, Malformed, Payload,
    flow::{BEHIND_V4, BEHIND_V6, ICMP_HEADER, Part, header},
    wire::{Ipv4Address, Ipv4Ttl, Ports, protocol},
};

/// A frame whose checksums can be updated, as far as they have been computed.
pub trait Checksums: Bytes {
    /// Updates the checksum at `offset` for a change of what it covers in the payload itself. A zero checksum of UDP
    /// (`is_udp`) stays one, and no other becomes one.
    fn update(&mut self, offset: usize, difference: u32, is_udp: bool) -> Option<()>;

    /// The same for a change in the pseudo header, which is another in the IP header of `family`.
    fn update_pseudo(&mut self, offset: usize, difference: u32, family: Family, is_udp: bool) -> Option<()>;
}

/// An end of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The sender's.
    Source,
    /// The receiver's.
    Destination,
}

impl End {
    const fn other(self) -> Self {
        match self {
            Self::Source => Self::Destination,
            Self::Destination => Self::Source,
        }
    }
}

/// Target of a translation: the new address of one end, and the new ports of both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translation {
    /// The end whose address changes.
    pub end: End,
    /// Its address, of the packet's family.
    pub address: Addr,
    /// Its source port, host order.
    pub source_port: u16,
    /// Its destination port, host order.
    pub destination_port: u16,
}

/// Offset of the checksum in an IPv4 header, and of the word that holds it in a frame.
const HEADER_CHECKSUM: usize = 10;
const V4_TTL: usize = ETHERNET + 8;
/// Offset of the checksum in an ICMP message.
const ICMP_CHECKSUM: usize = 2;
/// Offset of the addresses in the IP header of each family.
const V4_ADDRESSES: usize = 12;
const V6_ADDRESSES: usize = 8;

/// Returns true if the ports of this protocol can be translated. SCTP allows only its addresses to be, which its
/// checksum does not cover.
#[inline(always)]
#[must_use]
pub const fn has_translatable_ports(protocol: u8) -> bool {
    matches!(protocol, protocol::TCP | protocol::UDP)
}

/// Translates the packet, whose payload this is; `ip` is its header as it was. A later fragment has no ports.
///
/// # Errors
/// The packet ends before what must be written, or has ports that cannot be changed. It is of no use then.
#[inline(always)]
pub fn translate(
    bytes: &mut impl Checksums,
    ip: &Ip,
    payload: Payload,
    to: &Translation,
) -> Result<(), Malformed> {
    let difference = readdress_ip(bytes, ip, to.end, &to.address).ok_or(Malformed)?;
    if payload.part == Part::Later {
        return Ok(());
    }
    let is_udp = payload.protocol == protocol::UDP;
    if let Some(at) = checksum_offset(payload.protocol) {
        bytes.update_pseudo(payload.offset + at, difference, ip.family, is_udp).ok_or(Malformed)?;
    }
    let changed = set_ports(bytes, payload.offset, to).ok_or(Malformed)?;
    if changed == 0 {
        return Ok(());
    }
    let at = checksum_offset(payload.protocol).ok_or(Malformed)?;
    bytes.update(payload.offset + at, changed, is_udp).ok_or(Malformed)
}

/// Translates the packet that this ICMP error quotes, back to what its sender knows: `to` is what becomes of packets in
/// the error's own direction, at whose end the quoted packet has `peer` so far.
///
/// # Errors
/// As [`translate`].
#[inline(always)]
pub fn translate_quote(
    bytes: &mut impl Checksums,
    ip: &Ip,
    message: Payload,
    peer: &Addr,
    to: &Translation,
) -> Result<(), Malformed> {
    let difference = quoted(bytes, ip.family, message.offset + ICMP_HEADER, peer, to).ok_or(Malformed)?;
    bytes.update(message.offset + ICMP_CHECKSUM, difference, false).ok_or(Malformed)
}

/// Translates the error itself, if its end is the quoted packet's `peer`: what a router says stays the router's.
///
/// # Errors
/// As [`translate`].
#[inline(always)]
pub fn translate_error(
    bytes: &mut impl Checksums,
    ip: &Ip,
    message: Payload,
    peer: &Addr,
    to: &Translation,
) -> Result<(), Malformed> {
    let own = if to.end == End::Source { &ip.source } else { &ip.destination };
    if own != peer {
        return Ok(());
    }
    let difference = readdress_ip(bytes, ip, to.end, &to.address).ok_or(Malformed)?;
    match ip.family {
        Family::V4 => Ok(()),
        Family::V6 => bytes
            .update_pseudo(message.offset + ICMP_CHECKSUM, difference, Family::V6, false)
            .ok_or(Malformed),
    }
}

/// Translates the packet whose IP header is at `offset`: the end of `to` is that of an answer to it. Returns the
/// difference that this makes to a sum over all of it.
#[inline(always)]
fn quoted(
    bytes: &mut impl Bytes,
    family: Family,
    offset: usize,
    old: &Addr,
    to: &Translation,
) -> Option<u32> {
    let payload = Payload::of_quote(bytes, family, offset)?;
    let address = difference(old, &to.address);
    set_address(bytes, family, offset, to.end.other(), &to.address)?;
    let mut all = address;
    if family == Family::V4 {
        all = add(all, adjust(bytes, offset + HEADER_CHECKSUM, address)?);
    }
    if payload.part == Part::Later {
        return Some(all);
    }
    let answered = Translation { source_port: to.destination_port, destination_port: to.source_port, ..*to };
    let ports = set_ports(bytes, payload.offset, &answered)?;
    all = add(all, ports);
    // Of TCP the quote need not reach as far.
    if let Some(at) = checksum_offset(payload.protocol) {
        let is_none = payload.protocol == protocol::UDP && bytes.load(payload.offset + at) == Some([0u8; 2]);
        if !is_none && let Some(changed) = adjust(bytes, payload.offset + at, add(address, ports)) {
            all = add(all, changed);
        }
    }
    Some(all)
}

/// Gives the packet another address; returns the difference.
#[inline(always)]
fn readdress_ip(bytes: &mut impl Checksums, ip: &Ip, end: End, address: &Addr) -> Option<u32> {
    let old = if end == End::Source { &ip.source } else { &ip.destination };
    let difference = difference(old, address);
    let is_source = end == End::Source;
    // In place, at offsets known when compiling: helpers would cost as much as the rest.
    match ip.family {
        Family::V4 => {
            let word: Ipv4Ttl = bytes.read(V4_TTL)?;
            let checksum = after(u16::from_ne_bytes(word.checksum), difference).to_ne_bytes();
            bytes.write(V4_TTL, Ipv4Ttl { checksum, ..word })?;
            let octets = Ipv4Address { octets: address.as_words()[3].to_ne_bytes() };
            match is_source {
                true => bytes.write(ETHERNET + V4_ADDRESSES, octets)?,
                false => bytes.write(ETHERNET + V4_ADDRESSES + 4, octets)?,
            }
        }
        Family::V6 => match is_source {
            true => bytes.write(ETHERNET + V6_ADDRESSES, *address)?,
            false => bytes.write(ETHERNET + V6_ADDRESSES + size_of::<Addr>(), *address)?,
        },
    }
    Some(difference)
}

/// Writes an address into the header at `offset`.
#[inline(always)]
fn set_address(
    bytes: &mut impl Bytes,
    family: Family,
    offset: usize,
    end: End,
    address: &Addr,
) -> Option<()> {
    match family {
        Family::V4 => {
            let at = offset + V4_ADDRESSES + if end == End::Source { 0 } else { 4 };
            bytes.store(at, address.words()[3].to_ne_bytes())
        }
        Family::V6 => {
            let at = offset + V6_ADDRESSES + if end == End::Source { 0 } else { 16 };
            bytes.store(at, *address)
        }
    }
}

/// Writes the ports at `offset`; returns the difference.
#[inline(always)]
fn set_ports(bytes: &mut impl Bytes, offset: usize, to: &Translation) -> Option<u32> {
    let old: Ports = header(bytes, offset)?;
    let new = Ports { source: to.source_port.to_be_bytes(), destination: to.destination_port.to_be_bytes() };
    if old == new {
        return Some(0);
    }
    let in_place = match offset {
        BEHIND_V4 => bytes.write(BEHIND_V4, new),
        BEHIND_V6 => bytes.write(BEHIND_V6, new),
        _ => None,
    };
    in_place.or_else(|| bytes.store(offset, new))?;
    let word = |ports: Ports| {
        let ([a, b], [c, d]) = (ports.source, ports.destination);
        u32::from_ne_bytes([a, b, c, d])
    };
    Some(add(word(new), !word(old)))
}

/// Updates the checksum at `offset`, of whatever has changed by `difference`; returns the difference of the checksum
/// itself.
#[inline(always)]
fn adjust(bytes: &mut impl Bytes, offset: usize, difference: u32) -> Option<u32> {
    let old: [u8; 2] = bytes.load(offset)?;
    let new = after(u16::from_ne_bytes(old), difference);
    bytes.store(offset, new.to_ne_bytes())?;
    Some(add(new.into(), !u32::from(u16::from_ne_bytes(old))))
}

/// The checksum after what it covers has changed by `difference`.
#[inline(always)]
#[must_use]
pub const fn after(checksum: u16, difference: u32) -> u16 {
    let sum = !checksum as u64 + difference as u64;
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

/// Returns the offset of the checksum in a TCP or UDP header; the checksums of both cover the addresses.
#[inline(always)]
const fn checksum_offset(protocol: u8) -> Option<usize> {
    match protocol {
        protocol::TCP => Some(16),
        protocol::UDP => Some(6),
        _ => None,
    }
}

/// Returns what a change of address adds to a sum. For IPv4 only the last word counts, as the others are equal.
#[inline(always)]
fn difference(old: &Addr, new: &Addr) -> u32 {
    let (old, new) = (old.as_words(), new.as_words());
    let word = |at: usize| new[at] as u64 + !old[at] as u64;
    fold(word(0) + word(1) + word(2) + word(3))
}

/// The sum of two sums.
#[inline(always)]
pub(crate) const fn add(one: u32, other: u32) -> u32 {
    fold(one as u64 + other as u64)
}

#[inline(always)]
const fn fold(sum: u64) -> u32 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    ((sum & 0xffff_ffff) + (sum >> 32)) as u32
}
