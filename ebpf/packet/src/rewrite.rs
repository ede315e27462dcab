use crate::{
    Bytes, ETHERNET, Family, Ip, Malformed,
    wire::{EthernetAddresses, Ipv4Ttl, Mac},
};

/// The addresses a frame goes on with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Macs {
    /// To whom.
    pub destination: Mac,
    /// From whom.
    pub source: Mac,
}

const TTL: usize = ETHERNET + 8;
const HOP_LIMIT: usize = ETHERNET + 7;

/// Does a router's work on a packet: sets new MAC addresses, and decrements the TTL.
///
/// # Errors
/// The packet ends before what must be written, or its TTL is used up.
#[inline(always)]
pub fn forward(bytes: &mut impl Bytes, ip: &Ip, macs: Macs) -> Result<(), Malformed> {
    readdress(bytes, macs)?;
    decrement_ttl(bytes, ip)
}

/// Decrements the TTL or hop limit.
///
/// # Errors
/// As [`forward`].
#[inline(always)]
pub fn decrement_ttl(bytes: &mut impl Bytes, ip: &Ip) -> Result<(), Malformed> {
    match ip.family {
        Family::V4 => {
            let word: Ipv4Ttl = bytes.read(TTL).ok_or(Malformed)?;
            let ttl = word.ttl.checked_sub(1).ok_or(Malformed)?;
            let checksum = checksum_after_decrement(u16::from_be_bytes(word.checksum)).to_be_bytes();
            bytes.write(TTL, Ipv4Ttl { ttl, checksum, ..word })
        }
        Family::V6 => bytes.write(HOP_LIMIT, [ip.ttl.checked_sub(1).ok_or(Malformed)?]),
    }
    .ok_or(Malformed)
}

/// Sets the frame's MAC addresses.
///
/// # Errors
/// The frame is shorter than an Ethernet header.
#[inline(always)]
pub fn readdress(bytes: &mut impl Bytes, macs: Macs) -> Result<(), Malformed> {
    let Macs { destination, source } = macs;
    bytes.write(0, EthernetAddresses { destination, source }).ok_or(Malformed)
}

/// Returns the header checksum after the TTL, the high byte of its word, was decremented (RFC 1624): one more in that
/// place.
#[inline(always)]
fn checksum_after_decrement(checksum: u16) -> u16 {
    let sum = u32::from(checksum) + 0x0100;
    (sum + u32::from(sum >= 0xffff)) as u16
}
