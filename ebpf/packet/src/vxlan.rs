//! VXLAN (RFC 7348) around a frame: Ethernet, IP, UDP, VXLAN, and the frame from its own Ethernet header on.

use naru_abi::Addr;

use crate::{
    Bytes, ETHERNET, Family, Ip, Malformed,
    wire::{Ipv4, Ipv6, Ipv6Head, UdpVxlan, protocol},
};

/// Contents of the outer headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outer<'a> {
    /// This node's underlay address.
    pub source: &'a Addr,
    /// The other node's, of the same family.
    pub destination: &'a Addr,
    /// UDP source port: the same for all packets of a flow, so that they keep their order.
    pub source_port: u16,
    /// UDP port of the tunnel.
    pub tunnel_port: u16,
    /// VXLAN network identifier, 24 bits.
    pub vni: u32,
    /// Identification of an IPv4 packet, which routers may fragment.
    pub id: u16,
}

/// TTL of the outer packet.
pub const OUTER_TTL: u8 = 64;
/// The VXLAN flags of a frame with a network identifier; no other is sent or understood.
const VXLAN_FLAGS: [u8; 4] = [0x08, 0, 0, 0];
/// The parts of a traffic class.
const ECN: u8 = 3;
const CONGESTION: u8 = 3;
const CAPABLE: u8 = 2;

/// Offset of the addresses in an IPv6 frame.
const V6_SOURCE: usize = ETHERNET + size_of::<Ipv6Head>();
/// Offset of the first byte after an IPv4 header without options.
const BEHIND_IPV4: usize = ETHERNET + size_of::<Ipv4>();

/// Bytes that the tunnel adds to a packet: from the outer IP header to the inner one.
#[inline(always)]
#[must_use]
pub const fn tunnel_overhead(outer: Family) -> usize {
    let ip = match outer {
        Family::V4 => size_of::<Ipv4>(),
        Family::V6 => size_of::<Ipv6>(),
    };
    ip + size_of::<UdpVxlan>() + ETHERNET
}

/// Nodes reduce the MTU of pods by as much.
const _: () = assert!(
    tunnel_overhead(Family::V4) == naru_abi::TUNNEL_OVERHEAD_V4 as usize
        && tunnel_overhead(Family::V6) == naru_abi::TUNNEL_OVERHEAD_V6 as usize
);

/// Returns the traffic class of the outer packet for an inner one of class `inner`: DSCP 0, as the kernel's device does
/// by default, and the congestion bits of RFC 6040 in normal mode; a congestion mark made before is not repeated.
#[inline(always)]
#[must_use]
pub const fn outer_traffic_class(inner: u8) -> u8 {
    match inner & ECN {
        CONGESTION => CAPABLE,
        ecn => ecn,
    }
}

/// Contents of a packet's VXLAN header, and of the UDP header before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VxlanHeader {
    /// VXLAN network identifier.
    pub vni: u32,
    /// True if the packet has a UDP checksum, which is to be verified.
    pub has_checksum: bool,
    /// True if the lengths agree with the frame's and no unknown flag is set.
    pub is_plain: bool,
}

/// The VXLAN header of a packet to UDP port `port`, `None` for any other.
#[inline(always)]
pub fn vxlan_header(bytes: &impl Bytes, ip: &Ip, port: u32) -> Option<VxlanHeader> {
    if ip.protocol != protocol::UDP || ip.extended || ip.later_fragment {
        return None;
    }
    // In place where it can be: right behind an IPv4 header it is in the linear part as a rule.
    let in_place = if usize::from(ip.payload) == BEHIND_IPV4 { bytes.read(BEHIND_IPV4) } else { None };
    let udp: UdpVxlan = in_place.or_else(|| bytes.load(ip.payload.into()))?;
    if u32::from(u16::from_be_bytes(udp.destination_port)) != port {
        return None;
    }
    let [high, middle, low, reserved] = udp.vni;
    let after = usize::from(ip.payload) - ETHERNET;
    let is_whole = ip.length == bytes.frame_len() - ETHERNET as u32
        && u32::from(u16::from_be_bytes(udp.length)) == ip.length - after as u32;
    Some(VxlanHeader {
        vni: u32::from_be_bytes([0, high, middle, low]),
        has_checksum: udp.checksum != [0; 2],
        is_plain: is_whole && udp.flags == VXLAN_FLAGS && reserved == 0,
    })
}

/// Writes the outer headers, and the frame's Ethernet header once more as the inner one, into the [`tunnel_overhead`]
/// bytes that were made for them after it; `class` is [`outer_traffic_class`] of what is inside. The UDP checksum is
/// zero (RFC 7348, RFC 6935): what is inside has its own.
///
/// # Errors
/// The frame is shorter than that.
#[inline(always)]
pub fn write_outer(bytes: &mut impl Bytes, outer: &Outer<'_>, class: u8) -> Result<(), Malformed> {
    let length = bytes.frame_len() - ETHERNET as u32;
    let after = match (outer.source.as_v4(), outer.destination.as_v4()) {
        (Some(source), Some(destination)) => {
            let mut ip = Ipv4 {
                version_ihl: 0x45,
                tos: class,
                total_length: (length as u16).to_be_bytes(),
                id: outer.id.to_be_bytes(),
                fragment: [0; 2],
                ttl: OUTER_TTL,
                protocol: protocol::UDP,
                checksum: [0; 2],
                source,
                destination,
            };
            ip.checksum = checksum(&ip);
            bytes.write(ETHERNET, ip).ok_or(Malformed)?;
            size_of::<Ipv4>()
        }
        _ => {
            let head = Ipv6Head {
                version_class_flow: [0x60 | class >> 4, class << 4, 0, 0],
                payload_length: (length as u16 - size_of::<Ipv6>() as u16).to_be_bytes(),
                next_header: protocol::UDP,
                hop_limit: OUTER_TTL,
            };
            bytes.write(ETHERNET, head).ok_or(Malformed)?;
            bytes.write(V6_SOURCE, *outer.source).ok_or(Malformed)?;
            bytes.write(V6_SOURCE + size_of::<Addr>(), *outer.destination).ok_or(Malformed)?;
            size_of::<Ipv6>()
        }
    };
    let [_, high, middle, low] = outer.vni.to_be_bytes();
    let udp = UdpVxlan {
        source_port: outer.source_port.to_be_bytes(),
        destination_port: outer.tunnel_port.to_be_bytes(),
        length: (length as u16 - after as u16).to_be_bytes(),
        checksum: [0; 2],
        flags: VXLAN_FLAGS,
        vni: [high, middle, low, 0],
    };
    bytes.write(ETHERNET + after, udp).ok_or(Malformed)?;
    let inner: [u16; ETHERNET / 2] = bytes.read(0).ok_or(Malformed)?;
    bytes.write(ETHERNET + after + size_of::<UdpVxlan>(), inner).ok_or(Malformed)
}

/// The header's checksum, whose own field is zero.
#[inline(always)]
fn checksum(ip: &Ipv4) -> [u8; 2] {
    let word = |bytes: [u8; 2]| u32::from(u16::from_be_bytes(bytes));
    let address = |[a, b, c, d]: [u8; 4]| word([a, b]) + word([c, d]);
    let sum = word([ip.version_ihl, ip.tos])
        + word(ip.total_length)
        + word(ip.id)
        + word(ip.fragment)
        + word([ip.ttl, ip.protocol])
        + address(ip.source)
        + address(ip.destination);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    (!(sum as u16)).to_be_bytes()
}
