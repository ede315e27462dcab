//! Frames, and VXLAN around them.

/// Ethertype of IPv4.
pub const IPV4: u16 = 0x0800;
/// Ethertype of ARP.
pub const ARP: u16 = 0x0806;
/// Ethertype of IPv6.
pub const IPV6: u16 = 0x86dd;

/// A frame.
#[must_use]
pub fn frame(destination: [u8; 6], source: [u8; 6], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&destination[..], &source, &ethertype.to_be_bytes(), payload].concat()
}

/// A VXLAN datagram's payload (RFC 7348) around `frame`.
#[must_use]
pub fn vxlan(vni: u32, frame: &[u8]) -> Vec<u8> {
    [&[8, 0, 0, 0][..], &(vni << 8).to_be_bytes(), frame].concat()
}

/// The ethertype of an IP packet by its version.
#[must_use]
pub fn ethertype(packet: &[u8]) -> u16 {
    if packet.first().is_some_and(|first| first >> 4 == 6) { IPV6 } else { IPV4 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_takes_the_upper_three_bytes() {
        assert_eq!(vxlan(0x12_3456, b"x"), [8, 0, 0, 0, 0x12, 0x34, 0x56, 0, b'x']);
    }
}
