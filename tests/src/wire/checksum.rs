//! Checksums.

use std::net::IpAddr;

/// The Internet checksum (RFC 1071) over all `parts` as one string; each but the last has an even length.
#[must_use]
pub fn internet(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from);
            sum = (sum & 0xffff) + (sum >> 16);
        }
    }
    !(((sum & 0xffff) + (sum >> 16)) as u16)
}

/// The pseudo header of an upper-layer checksum (RFC 768, RFC 8200 section 8.1).
#[must_use]
pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> Vec<u8> {
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            [&source.octets()[..], &destination.octets(), &[0, protocol], &length[2..]].concat()
        }
        (source, destination) => {
            [&v6_octets(source)[..], &v6_octets(destination), &length, &[0, 0, 0, protocol]].concat()
        }
    }
}

fn v6_octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// CRC32c (Castagnoli, reflected; RFC 9260, appendix A).
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (0u32.wrapping_sub(crc & 1)));
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_internet_checksum_matches_the_example_of_rfc_1071() {
        assert_eq!(internet(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
        assert_eq!(internet(&[&[0x00, 0x01], &[0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
    }

    #[test]
    fn crc32c_matches_its_check_value() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
