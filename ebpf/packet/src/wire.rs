//! Headers as they are on the wire.

use naru_abi::Addr;

/// A MAC address.
pub type Mac = [u8; 6];

/// Length of an Ethernet header without a VLAN tag, and so the offset of the IP header.
pub const ETHERNET: usize = 14;

/// Protocol and next header numbers (IANA) that the datapath tells apart.
pub mod protocol {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// IGMP.
    pub const IGMP: u8 = 2;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// DCCP.
    pub const DCCP: u8 = 33;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// Authentication header.
    pub const AUTHENTICATION: u8 = 51;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// IPv6 destination options.
    pub const DESTINATION: u8 = 60;
    /// SCTP.
    pub const SCTP: u8 = 132;
    /// IPv6 mobility header.
    pub const MOBILITY: u8 = 135;
    /// UDP-Lite.
    pub const UDP_LITE: u8 = 136;
    /// Host identity protocol.
    pub const HIP: u8 = 139;
    /// Shim6.
    pub const SHIM6: u8 = 140;
}

/// A header: bytes in a fixed order, nothing between them.
///
/// # Safety
/// No padding, and every bit pattern is a value. The alignment may claim what holds for a header at its place in a
/// frame whose IP header is 4-aligned: 2 for Ethernet and what follows at an even offset, 4 for the IP header.
pub unsafe trait Wire: Copy + 'static {}

macro_rules! wire {
    ($(#[$doc:meta])* $name:ident, align $align:literal, $size:literal {
        $($(#[$fdoc:meta])* $field:ident: $type:ty,)+
    }) => {
        $(#[$doc])*
        #[repr(C, align($align))]
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) struct $name { $($(#[$fdoc])* pub $field: $type,)+ }
        const _: () = assert!(size_of::<$name>() == $size && $size == 0 $(+ size_of::<$type>())+);
        // SAFETY: bytes only, and the assertion excludes padding.
        unsafe impl Wire for $name {}
    };
}

// SAFETY: bytes.
unsafe impl<const N: usize> Wire for [u8; N] {}
// SAFETY: sixteen bytes, of which every pattern is a value; in an IPv6 header they are where 4 divides the offset in
// it.
unsafe impl Wire for Addr {}
// SAFETY: bytes; an Ethernet header that nobody looks into, at an even offset.
unsafe impl Wire for [u16; ETHERNET / 2] {}

wire! {
    /// The addresses of an Ethernet header.
    EthernetAddresses, align 2, 12 {
        destination: Mac,
        source: Mac,
    }
}

wire! {
    /// IPv4 without options (RFC 791).
    Ipv4, align 4, 20 {
        version_ihl: u8,
        tos: u8,
        total_length: [u8; 2],
        id: [u8; 2],
        /// Three flags and the offset in units of eight bytes.
        fragment: [u8; 2],
        ttl: u8,
        protocol: u8,
        checksum: [u8; 2],
        source: [u8; 4],
        destination: [u8; 4],
    }
}

wire! {
    /// The word of an IPv4 header that a router changes.
    Ipv4Ttl, align 4, 4 {
        ttl: u8,
        protocol: u8,
        checksum: [u8; 2],
    }
}

wire! {
    /// An address in an IPv4 header.
    Ipv4Address, align 4, 4 {
        octets: [u8; 4],
    }
}

wire! {
    /// The ports with which TCP, UDP, UDP-Lite, DCCP and SCTP begin.
    Ports, align 2, 4 {
        source: [u8; 2],
        destination: [u8; 2],
    }
}

wire! {
    /// IPv6 (RFC 8200).
    Ipv6, align 4, 40 {
        version_class_flow: [u8; 4],
        payload_length: [u8; 2],
        next_header: u8,
        hop_limit: u8,
        source: [u8; 16],
        destination: [u8; 16],
    }
}

wire! {
    /// IPv6 up to the addresses.
    Ipv6Head, align 4, 8 {
        version_class_flow: [u8; 4],
        payload_length: [u8; 2],
        next_header: u8,
        hop_limit: u8,
    }
}

wire! {
    /// UDP (RFC 768) and VXLAN (RFC 7348, 5).
    UdpVxlan, align 2, 16 {
        source_port: [u8; 2],
        destination_port: [u8; 2],
        length: [u8; 2],
        checksum: [u8; 2],
        flags: [u8; 4],
        /// The network identifier, and a reserved byte.
        vni: [u8; 4],
    }
}
