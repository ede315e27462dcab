//! IPv4 and IPv6 headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::checksum::internet;

/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Protocol number of GRE.
pub const GRE: u8 = 47;
/// Protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;
/// Protocol number of SCTP.
pub const SCTP: u8 = 132;

/// A whole packet without options or fragments, TTL 64.
#[must_use]
pub fn packet(source: IpAddr, destination: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            [&v4_header(source, destination, protocol, payload.len(), 0, 0)[..], payload].concat()
        }
        (source, destination) => {
            [&v6_header(to_v6(source), to_v6(destination), protocol, payload.len())[..], payload].concat()
        }
    }
}

/// `ip` as it is, or in its mapped form.
#[must_use]
pub fn to_v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// An IPv4 header; `fragment` holds flags and offset in units of 8 bytes.
#[must_use]
pub fn v4_header(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    payload: usize,
    id: u16,
    fragment: u16,
) -> [u8; 20] {
    let mut header = [0; 20];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&length(20 + payload));
    header[4..6].copy_from_slice(&id.to_be_bytes());
    header[6..8].copy_from_slice(&fragment.to_be_bytes());
    header[8] = 64;
    header[9] = protocol;
    header[12..16].copy_from_slice(&source.octets());
    header[16..20].copy_from_slice(&destination.octets());
    let sum = internet(&[&header]).to_be_bytes();
    header[10..12].copy_from_slice(&sum);
    header
}

/// An IPv6 header.
#[must_use]
pub fn v6_header(source: Ipv6Addr, destination: Ipv6Addr, next: u8, payload: usize) -> [u8; 40] {
    let mut header = [0; 40];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&length(payload));
    header[6] = next;
    header[7] = 64;
    header[8..24].copy_from_slice(&source.octets());
    header[24..40].copy_from_slice(&destination.octets());
    header
}

fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
}

/// The payload of an IPv4 packet, after its header; empty if it is cut short.
#[must_use]
pub fn v4_payload(packet: &[u8]) -> &[u8] {
    let header = packet.first().map_or(0, |first| usize::from(first & 15) * 4);
    packet.get(header..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_header_sums_to_zero_and_tells_its_length() {
        let header = v4_header([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), ICMP, 100, 7, 0x2000);
        assert_eq!(internet(&[&header]), 0);
        assert_eq!(header[2..4], [0, 120]);
        assert_eq!(v4_payload(&[&header[..], b"abc"].concat()), b"abc");
    }
}
