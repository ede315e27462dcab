use std::net::IpAddr;

/// MTU of an underlay of which nothing is known: plain Ethernet.
pub const FALLBACK_MTU: u32 = 1500;

/// The smallest MTU that a link with IPv6 may have (RFC 8200, section 5; `IPV6_MIN_MTU` of the kernel).
pub const IPV6_MIN_MTU: u32 = 1280;

/// Bytes that the tunnel adds to a pod's IP packet: outer IP, UDP, VXLAN and inner Ethernet header (RFC 7348).
#[must_use]
pub const fn overhead(underlay: IpAddr) -> u32 {
    if underlay.is_ipv4() { 50 } else { 70 }
}

/// The largest IP packet of a pod that reaches, through the tunnel, the node whose tunnel ends at `underlay`.
#[must_use]
pub fn path_mtu(underlay: IpAddr, device_mtu: Option<u32>) -> u32 {
    device_mtu.unwrap_or(FALLBACK_MTU).saturating_sub(overhead(underlay))
}
