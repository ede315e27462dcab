use std::net::Ipv4Addr;

/// Bytes of a frame, its headers included.
const LENGTH: usize = 60;
/// Bytes of the headers of Ethernet and IPv4.
const ETHERNET: usize = 14;
const IP: usize = 20;
/// As many times the same packet can be forwarded.
const HOPS: u8 = 255;

/// A small UDP packet in a frame to `destination_mac`.
pub fn udp(destination_mac: [u8; 6], source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
    let mut frame = vec![0; LENGTH];
    frame[..6].copy_from_slice(&destination_mac);
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
    frame[12..14].copy_from_slice(&[8, 0]);
    let total = u16::try_from(LENGTH - ETHERNET).unwrap_or_default();
    let ip = &mut frame[ETHERNET..ETHERNET + IP];
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&total.to_be_bytes());
    ip[8] = HOPS;
    ip[9] = 17;
    ip[12..16].copy_from_slice(&source.octets());
    ip[16..20].copy_from_slice(&destination.octets());
    let sum = checksum(ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let udp = &mut frame[ETHERNET + IP..];
    udp[..2].copy_from_slice(&4000u16.to_be_bytes());
    udp[2..4].copy_from_slice(&4001u16.to_be_bytes());
    udp[4..6].copy_from_slice(&(total - 20).to_be_bytes());
    frame
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
        let frame = udp([2; 6], Ipv4Addr::new(10, 63, 0, 1), Ipv4Addr::new(10, 64, 1, 2));
        assert_eq!(checksum(&frame[ETHERNET..ETHERNET + IP]), 0);
    }
}
