use naru_abi::Addr;

use crate::{
    Bytes, Malformed,
    wire::{ETHERNET, Ipv4, Ipv6Head, Mac, protocol},
};

/// The version of an IP header.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A frame as far as it had to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parsed {
    /// MAC address it is sent to.
    pub destination: Mac,
    /// MAC address it comes from.
    pub source: Mac,
    /// The kind of payload.
    pub content: Content,
    /// The header of [`Content::Ip`]; empty for the other kinds.
    pub ip: Ip,
}

impl Parsed {
    /// An empty value. It is all zero, so that it costs a program no constant in memory.
    pub const EMPTY: Self =
        Self { destination: [0; 6], source: [0; 6], content: Content::Other, ip: Ip::EMPTY };
}

/// The kind of a frame's payload. The variants have no fields: enums with fields make no valid BTF, and functions of
/// the datapath have this type in their signatures.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// Neither of the others.
    Other,
    /// ARP.
    Arp,
    /// IP of either family.
    Ip,
}

/// An IP header of either family; kept small, as a program holds it on its stack all the time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ip {
    /// Which of them.
    pub family: Family,
    /// Source address.
    pub source: Addr,
    /// Destination address.
    pub destination: Addr,
    /// Type of service or traffic class.
    pub traffic_class: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Number of the protocol after the header: of IPv6 the first next header, whatever it is.
    pub protocol: u8,
    /// Bytes from the IP header to the packet's end, as the header says.
    pub length: u32,
    /// Offset in the frame of the payload after the header and its IPv4 options.
    pub payload: u16,
    /// True if IPv4 options or IPv6 extension headers come before the payload. A fragment header alone does not count:
    /// forwarding needs nothing behind it.
    pub extended: bool,
    /// True if this is an IPv4 fragment other than the first, which has no L4 header.
    pub later_fragment: bool,
}

impl Ip {
    const EMPTY: Self = Self {
        family: Family::V4,
        source: Addr::UNSPECIFIED,
        destination: Addr::UNSPECIFIED,
        traffic_class: 0,
        ttl: 0,
        protocol: 0,
        length: 0,
        payload: 0,
        extended: false,
        later_fragment: false,
    };
}

/// Offset of the ethertype in a frame.
pub const ETHERTYPE: usize = 12;

/// The ethertype of a family.
#[inline(always)]
#[must_use]
pub const fn ethertype(family: Family) -> [u8; 2] {
    match family {
        Family::V4 => ETHERTYPE_IPV4.to_be_bytes(),
        Family::V6 => ETHERTYPE_IPV6.to_be_bytes(),
    }
}

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// Reads the Ethernet and the IP header.
///
/// # Errors
/// Headers cut short, of the wrong version, or longer than the frame.
#[inline(always)]
pub fn parse(bytes: &impl Bytes) -> Result<Parsed, Malformed> {
    let mut parsed = Parsed::EMPTY;
    parse_into(bytes, &mut parsed).map(|()| parsed)
}

/// Does the same as [`parse`] into existing memory, of which a program has little.
///
/// # Errors
/// As [`parse`]; the contents of `parsed` are then undefined.
#[inline(always)]
pub fn parse_into(bytes: &impl Bytes, parsed: &mut Parsed) -> Result<(), Malformed> {
    // Read as words, because a header is aligned: for bytes the BPF compiler makes a load each.
    let [a, b, c, d, e, f, ethertype]: [u16; ETHERNET / 2] = bytes.read(0).ok_or(Malformed)?;
    (parsed.destination, parsed.source) = (mac([a, b, c]), mac([d, e, f]));
    match u16::from_be(ethertype) {
        ETHERTYPE_IPV4 => ipv4(bytes, parsed),
        ETHERTYPE_IPV6 => ipv6(bytes, parsed),
        ETHERTYPE_ARP => {
            parsed.content = Content::Arp;
            Ok(())
        }
        _ => {
            parsed.content = Content::Other;
            Ok(())
        }
    }
}

#[inline(always)]
fn mac(words: [u16; 3]) -> Mac {
    // SAFETY: six bytes either way, of which every pattern is a value.
    unsafe { core::mem::transmute(words) }
}

/// Offset of the addresses in an IPv6 frame.
const SOURCE_V6: usize = ETHERNET + size_of::<Ipv6Head>();

#[inline(always)]
fn ipv4(bytes: &impl Bytes, parsed: &mut Parsed) -> Result<(), Malformed> {
    let header: Ipv4 = bytes.read(ETHERNET).ok_or(Malformed)?;
    let header_length = u32::from(header.version_ihl & 0x0f) * 4;
    let length = u32::from(u16::from_be_bytes(header.total_length));
    if header.version_ihl >> 4 != 4 || header_length < 20 {
        return Err(Malformed);
    }
    fits(bytes, header_length, length)?;
    parsed.content = Content::Ip;
    parsed.ip = Ip {
        family: Family::V4,
        source: Addr::v4(header.source),
        destination: Addr::v4(header.destination),
        traffic_class: header.tos,
        ttl: header.ttl,
        protocol: header.protocol,
        length,
        payload: ETHERNET as u16 + header_length as u16,
        extended: header_length > 20,
        later_fragment: u16::from_be_bytes(header.fragment) & 0x1fff != 0,
    };
    Ok(())
}

#[inline(always)]
fn ipv6(bytes: &impl Bytes, parsed: &mut Parsed) -> Result<(), Malformed> {
    let ip = &mut parsed.ip;
    // The addresses are read first, into their final place: read with the rest they would be on the stack twice.
    ip.source = bytes.read(SOURCE_V6).ok_or(Malformed)?;
    ip.destination = bytes.read(SOURCE_V6 + size_of::<Addr>()).ok_or(Malformed)?;
    let head: Ipv6Head = bytes.read(ETHERNET).ok_or(Malformed)?;
    let length = 40 + u32::from(u16::from_be_bytes(head.payload_length));
    // An IPv4-mapped address is never on the wire (RFC 4291, 2.5.5.2); here it would pass for IPv4.
    if head.version_class_flow[0] >> 4 != 6 || ip.source.is_v4() || ip.destination.is_v4() {
        return Err(Malformed);
    }
    fits(bytes, 40, length)?;
    ip.family = Family::V6;
    ip.traffic_class = head.version_class_flow[0] << 4 | head.version_class_flow[1] >> 4;
    ip.ttl = head.hop_limit;
    ip.protocol = head.next_header;
    ip.length = length;
    ip.payload = ETHERNET as u16 + 40;
    ip.extended = is_extension(head.next_header);
    ip.later_fragment = false;
    parsed.content = Content::Ip;
    Ok(())
}

/// Checks that a packet of `length` bytes with a header of `header_length` bytes can be in this frame. The length of a
/// GSO frame is that of none of its packets.
#[inline(always)]
fn fits(bytes: &impl Bytes, header_length: u32, length: u32) -> Result<(), Malformed> {
    let room = bytes.frame_len().saturating_sub(ETHERNET as u32);
    let said = if bytes.gso_size() == 0 { length } else { header_length };
    if header_length <= said && said <= room { Ok(()) } else { Err(Malformed) }
}

#[inline(always)]
fn is_extension(next_header: u8) -> bool {
    matches!(
        next_header,
        protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::AUTHENTICATION
            | protocol::DESTINATION
            | protocol::MOBILITY
            | protocol::HIP
            | protocol::SHIM6
    )
}
