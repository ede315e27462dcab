use std::net::IpAddr;

use naru_abi::{TUNNEL_OVERHEAD_V4, TUNNEL_OVERHEAD_V6};

/// MTU of an underlay of which nothing is known: plain Ethernet.
pub const FALLBACK_MTU: u32 = 1500;

/// The smallest MTU that a link with IPv6 may have (RFC 8200, section 5; `IPV6_MIN_MTU` of the kernel).
pub const IPV6_MIN_MTU: u32 = 1280;

/// Bytes that the tunnel adds to a pod's IP packet.
#[must_use]
pub const fn overhead(underlay: IpAddr) -> u32 {
    if underlay.is_ipv4() { TUNNEL_OVERHEAD_V4 } else { TUNNEL_OVERHEAD_V6 }
}

/// The MTU of a pods' link over a path with `mtu`. With IPv6 it is no less than IPv6 needs, if need be in fragments
/// of the path, because Linux ignores a "packet too big" of less.
#[must_use]
pub fn carried(mtu: u32, has_v6: bool) -> u32 {
    if has_v6 { mtu.max(IPV6_MIN_MTU) } else { mtu }
}

/// The largest IP packet of a pod that reaches, through the tunnel, the node whose tunnel ends at `underlay`.
#[must_use]
pub fn path_mtu(underlay: IpAddr, device_mtu: Option<u32>) -> u32 {
    device_mtu.unwrap_or(FALLBACK_MTU).saturating_sub(overhead(underlay))
}
