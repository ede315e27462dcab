use std::net::{Ipv4Addr, SocketAddrV4};

/// Bytes of a frame, its headers included.
const LENGTH: usize = 60;
/// Bytes of the headers of Ethernet and IPv4.
const ETHERNET: usize = 14;
const IP: usize = 20;
/// The ports of a small packet from pod to pod.
pub const SOURCE_PORT: u16 = 4000;
pub const DESTINATION_PORT: u16 = 4001;
/// The TTL: a packet can be forwarded that many times.
const HOPS: u8 = 255;

/// Bytes of the headers of UDP and VXLAN.
const UDP: usize = 8;
const VXLAN: usize = 8;
/// Bytes by which a tunnel over IPv4 makes a frame longer.
pub const OVERHEAD: usize = IP + UDP + VXLAN + ETHERNET;

/// A small UDP packet in a frame to `destination_mac`.
pub fn udp(destination_mac: [u8; 6], source: SocketAddrV4, destination: SocketAddrV4) -> Vec<u8> {
    let payload = [0; LENGTH - ETHERNET - IP - UDP];
    framed(destination_mac, (source, destination), &payload)
}

/// A frame in a tunnel from node to node.
pub fn vxlan(inner: &[u8], nodes: (Ipv4Addr, Ipv4Addr), port: u16, vni: u32) -> Vec<u8> {
    let header = [[8, 0, 0, 0], (vni << 8).to_be_bytes()].concat();
    let ends = (SocketAddrV4::new(nodes.0, SOURCE_PORT), SocketAddrV4::new(nodes.1, port));
    framed([2; 6], ends, &[&header, inner].concat())
}

/// A frame with a UDP packet without a checksum.
fn framed(destination_mac: [u8; 6], ends: (SocketAddrV4, SocketAddrV4), payload: &[u8]) -> Vec<u8> {
    let length = |of: usize| u16::try_from(of).unwrap_or_default().to_be_bytes();
    let mut ip = [0; IP];
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&length(IP + UDP + payload.len()));
    ip[8] = HOPS;
    ip[9] = 17;
    ip[12..16].copy_from_slice(&ends.0.ip().octets());
    ip[16..20].copy_from_slice(&ends.1.ip().octets());
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut udp = [0; UDP];
    udp[..2].copy_from_slice(&ends.0.port().to_be_bytes());
    udp[2..4].copy_from_slice(&ends.1.port().to_be_bytes());
    udp[4..6].copy_from_slice(&length(UDP + payload.len()));
    [&destination_mac[..], &[2, 0, 0, 0, 0, 9], &[8, 0], &ip, &udp, payload].concat()
}

/// The checksum of a header whose own field is zero (RFC 1071).
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !(((folded & 0xffff) + (folded >> 16)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_sums_up_to_nothing() {
        let frame = udp([2; 6], "10.63.0.1:4000".parse().unwrap(), "10.64.1.2:4001".parse().unwrap());
        assert_eq!((checksum(&frame[ETHERNET..ETHERNET + IP]), frame.len()), (0, LENGTH));
    }

    #[test]
    fn a_tunnel_makes_a_frame_longer_by_its_headers() {
        let nodes = (Ipv4Addr::new(198, 51, 100, 2), Ipv4Addr::new(198, 51, 100, 1));
        let inner = udp([2; 6], SocketAddrV4::new(nodes.0, 1), SocketAddrV4::new(nodes.1, 2));
        let outer = vxlan(&inner, nodes, 8472, 5230);
        assert_eq!((outer.len(), outer.ends_with(&inner)), (inner.len() + OVERHEAD, true));
        assert_eq!(outer[46..50], 5230u32.rotate_left(8).to_be_bytes());
    }
}
