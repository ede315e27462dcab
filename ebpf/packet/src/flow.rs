//! Which flow a packet belongs to, as connection tracking tells them apart.
//!
//! Each question builds its key once, in its final direction: a program has little stack for copies.

use naru_abi::{Addr, FlowKey};

use crate::{
    Bytes, ETHERNET, Family, Ip,
    wire::{Ipv4, Ipv6, Ipv6Head, Ports, protocol},
};

/// Offset of the flags and the fragment offset in the frame of an IPv4 packet.
const V4_FRAGMENT: usize = ETHERNET + 6;
const V6_HEADER: usize = 40;
/// The part of an ICMP error message before the packet that it is about.
pub(crate) const ICMP_HEADER: usize = 8;

/// The key that this packet would have been recorded under, if it answers a recorded flow. Every fragment has the key
/// without ports. Of IPv6 headers before the payload only a fragment header is looked behind.
#[inline(always)]
#[must_use]
pub fn answering(bytes: &impl Bytes, ip: &Ip) -> FlowKey {
    let payload = Payload::of_frame(bytes, ip);
    let key = FlowKey::between(ip.source, ip.destination, payload.protocol);
    let (source, destination) = if payload.part == Part::Whole { payload.ports(bytes) } else { (0, 0) };
    key.with_ports(source, destination)
}

/// The key of the packets that answer this one; `None` for an ICMP error, which nothing answers. A fragment without
/// ports has the key without ports.
#[inline(always)]
#[must_use]
pub fn answered(bytes: &impl Bytes, ip: &Ip) -> Option<FlowKey> {
    let payload = Payload::of_frame(bytes, ip);
    if payload.is_icmp_error(bytes) {
        return None;
    }
    let key = FlowKey::between(ip.destination, ip.source, payload.protocol);
    let (source, destination) = if payload.part == Part::Later { (0, 0) } else { payload.ports(bytes) };
    Some(key.with_ports(destination, source))
}

/// Puts the key of the packets that answer the one which this one, an ICMP error, is about into `key`; `None` if this
/// is none.
#[inline(always)]
#[must_use]
pub fn reported(bytes: &impl Bytes, ip: &Ip, key: &mut FlowKey) -> Option<()> {
    let message = Payload::of_frame(bytes, ip);
    if !message.is_icmp_error(bytes) {
        return None;
    }
    let payload = embedded(bytes, ip.family, message.offset + ICMP_HEADER, key)?;
    key.protocol = payload.protocol.into();
    key.strip_ports();
    if payload.part != Part::Later {
        (key.destination_port, key.source_port) = payload.ports(bytes);
    }
    Some(())
}

/// Source and destination port as the kernel's forwarding sees them (`__skb_flow_dissect`): fragments have none, nor
/// have protocols without ports.
#[inline(always)]
#[must_use]
pub fn forwarding_ports(bytes: &impl Bytes, ip: &Ip) -> (u16, u16) {
    let payload = Payload::of_frame(bytes, ip);
    match payload.protocol {
        protocol::ICMP | protocol::ICMPV6 => (0, 0),
        _ if payload.part == Part::Whole => payload.ports(bytes),
        _ => (0, 0),
    }
}

/// Reads the IP header at `offset`, puts its addresses into `key` in reverse, and returns its payload; `None` if the
/// packet ends before it.
#[inline(always)]
fn embedded(bytes: &impl Bytes, family: Family, offset: usize, key: &mut FlowKey) -> Option<Payload> {
    match family {
        Family::V4 => {
            let header: Ipv4 = bytes.load(offset)?;
            key.source = Addr::v4(header.destination);
            key.destination = Addr::v4(header.source);
            Some(Payload::after_v4(&header, offset))
        }
        Family::V6 => {
            let header: Ipv6 = bytes.load(offset)?;
            key.source = Addr::v6(header.destination);
            key.destination = Addr::v6(header.source);
            Some(Payload::after_v6(bytes, header.next_header, offset + V6_HEADER))
        }
    }
}

/// The part of the original packet that a packet carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// All of it.
    Whole,
    /// The first fragment; it has the ports.
    First,
    /// Another fragment.
    Later,
}

impl Part {
    /// By the field of an IPv4 header: three flags, the third "more", and the offset.
    #[inline(always)]
    const fn of_v4(field: u16) -> Self {
        Self::new(field & 0x1fff, field & 0x2000)
    }

    /// By the field of an IPv6 fragment header: the offset, and three flags, the last "more".
    #[inline(always)]
    const fn of_v6(field: u16) -> Self {
        Self::new(field & 0xfff8, field & 1)
    }

    #[inline(always)]
    const fn new(offset: u16, more: u16) -> Self {
        match (offset, more) {
            (0, 0) => Self::Whole,
            (0, _) => Self::First,
            _ => Self::Later,
        }
    }
}

/// The payload of an IP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Payload {
    /// Its protocol; of IPv6 what follows a fragment header, else the first next header.
    pub protocol: u8,
    /// Offset of its first byte in the frame.
    pub offset: usize,
    /// The part of the original payload that it carries.
    pub part: Part,
}

impl Payload {
    /// Of the packet in the frame, whose header was parsed.
    #[inline(always)]
    #[must_use]
    pub fn of_frame(bytes: &impl Bytes, ip: &Ip) -> Self {
        match ip.family {
            Family::V4 => {
                let part = Part::of_v4(number(bytes.read(V4_FRAGMENT)));
                Self { protocol: ip.protocol, offset: ip.payload.into(), part }
            }
            Family::V6 => Self::after_v6(bytes, ip.protocol, ip.payload.into()),
        }
    }

    /// Of the packet whose header is at `offset`, in an ICMP error.
    #[inline(always)]
    pub(crate) fn of_quote(bytes: &impl Bytes, family: Family, offset: usize) -> Option<Self> {
        match family {
            Family::V4 => Some(Self::after_v4(&bytes.load(offset)?, offset)),
            Family::V6 => {
                let head: Ipv6Head = bytes.load(offset)?;
                Some(Self::after_v6(bytes, head.next_header, offset + V6_HEADER))
            }
        }
    }

    #[inline(always)]
    fn after_v4(header: &Ipv4, offset: usize) -> Self {
        let part = Part::of_v4(u16::from_be_bytes(header.fragment));
        let length = usize::from(header.version_ihl & 0x0f) * 4;
        Self { protocol: header.protocol, offset: offset + length, part }
    }

    #[inline(always)]
    fn after_v6(bytes: &impl Bytes, next: u8, offset: usize) -> Self {
        if next != protocol::FRAGMENT {
            return Self { protocol: next, offset, part: Part::Whole };
        }
        let [protocol, _, high, low] = bytes.load(offset).unwrap_or_default();
        Self { protocol, offset: offset + 8, part: Part::of_v6(u16::from_be_bytes([high, low])) }
    }

    /// Source and destination port, or the identifier of an ICMP echo twice; zero where there are none.
    #[inline(always)]
    #[must_use]
    pub fn ports(self, bytes: &impl Bytes) -> (u16, u16) {
        match self.protocol {
            protocol::TCP | protocol::UDP | protocol::UDP_LITE | protocol::DCCP | protocol::SCTP => {
                match header::<Ports>(bytes, self.offset) {
                    Some(ports) => (u16::from_be_bytes(ports.source), u16::from_be_bytes(ports.destination)),
                    None => (0, 0),
                }
            }
            protocol::ICMP | protocol::ICMPV6 if is_echo(self.protocol, self.icmp_kind(bytes)) => {
                let id = number(bytes.load(self.offset + 4));
                (id, id)
            }
            _ => (0, 0),
        }
    }

    /// Returns true for an unfragmented ICMP message that connection tracking relates to a flow
    /// (`nf_conntrack_icmpv4_error`, `nf_conntrack_icmpv6_error`).
    #[inline(always)]
    #[must_use]
    pub fn is_icmp_error(self, bytes: &impl Bytes) -> bool {
        if self.part != Part::Whole {
            return false;
        }
        match self.protocol {
            protocol::ICMP => matches!(self.icmp_kind(bytes), 3 | 4 | 5 | 11 | 12),
            protocol::ICMPV6 => self.icmp_kind(bytes) < 128,
            _ => false,
        }
    }

    #[inline(always)]
    fn icmp_kind(self, bytes: &impl Bytes) -> u8 {
        let [kind] = bytes.load(self.offset).unwrap_or([u8::MAX]);
        kind
    }
}

/// Offset of the payload in most frames: those without IP options or extension headers.
pub(crate) const BEHIND_V4: usize = ETHERNET + 20;
pub(crate) const BEHIND_V6: usize = ETHERNET + V6_HEADER;

/// The header of a payload that begins at `offset`, which in most packets is where it can be read in place.
#[inline(always)]
pub(crate) fn header<T: crate::Wire>(bytes: &impl Bytes, offset: usize) -> Option<T> {
    let in_place = match offset {
        BEHIND_V4 => bytes.read(BEHIND_V4),
        BEHIND_V6 => bytes.read(BEHIND_V6),
        _ => None,
    };
    in_place.or_else(|| bytes.load(offset))
}

#[inline(always)]
const fn is_echo(protocol: u8, kind: u8) -> bool {
    match protocol {
        protocol::ICMP => matches!(kind, 0 | 8),
        _ => matches!(kind, 128 | 129),
    }
}

#[inline(always)]
fn number(bytes: Option<[u8; 2]>) -> u16 {
    u16::from_be_bytes(bytes.unwrap_or_default())
}
