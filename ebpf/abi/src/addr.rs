use core::{
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::plain::plain;

/// An IP address of either family as the kernel maps hold it: 16 bytes in network order,
/// IPv4 in its IPv4-mapped form `::ffff:a.b.c.d` (RFC 4291, section 2.5.5.2).
///
/// Aligned, so that programs move and compare it by words, not by bytes.
#[repr(C, align(4))]
#[derive(Clone, Copy, Eq, PartialOrd, Ord, Debug)]
pub struct Addr {
    /// The sixteen bytes, most significant first.
    pub octets: [u8; 16],
}
plain!(Addr { octets: [u8; 16] });

/// The word of an IPv4-mapped address before the IPv4 address.
const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

impl Addr {
    /// The address with every bit zero: "none" where an address is optional.
    pub const UNSPECIFIED: Self = Self { octets: [0; 16] };

    /// An IPv4 address in its mapped form.
    #[inline(always)]
    #[must_use]
    pub const fn v4(octets: [u8; 4]) -> Self {
        // Compares words: for bytes the BPF compiler makes a store each.
        Self::from_words([0, 0, MAPPED, u32::from_ne_bytes(octets)])
    }

    /// An IPv6 address.
    #[inline(always)]
    #[must_use]
    pub const fn v6(octets: [u8; 16]) -> Self {
        Self { octets }
    }

    /// The four bytes of a mapped IPv4 address, `None` for IPv6.
    #[inline(always)]
    #[must_use]
    pub const fn as_v4(self) -> Option<[u8; 4]> {
        match self.words() {
            [0, 0, MAPPED, v4] => Some(v4.to_ne_bytes()),
            _ => None,
        }
    }

    /// Returns the address as four words, each as it is in memory.
    #[inline(always)]
    #[must_use]
    pub const fn words(self) -> [u32; 4] {
        // SAFETY: sixteen bytes either way, of which every pattern is a value.
        unsafe { core::mem::transmute(self.octets) }
    }

    /// Returns true for a mapped IPv4 address.
    #[inline(always)]
    #[must_use]
    pub const fn is_v4(&self) -> bool {
        matches!(self.as_words(), [0, 0, MAPPED, _])
    }

    /// [`Addr::words`] without a copy.
    #[inline(always)]
    #[must_use]
    pub const fn as_words(&self) -> &[u32; 4] {
        // SAFETY: sixteen bytes either way, aligned for words, of which every pattern is a value.
        unsafe { &*core::ptr::from_ref(self).cast() }
    }

    /// Builds an address from such words; the inverse of [`Addr::words`].
    #[inline(always)]
    #[must_use]
    pub const fn from_words(words: [u32; 4]) -> Self {
        // SAFETY: as above.
        Self { octets: unsafe { core::mem::transmute::<[u32; 4], [u8; 16]>(words) } }
    }

    /// Returns true for [`Addr::UNSPECIFIED`].
    #[inline(always)]
    #[must_use]
    pub fn is_unspecified(self) -> bool {
        self == Self::UNSPECIFIED
    }
}

impl PartialEq for Addr {
    /// Compares words: for sixteen bytes behind a pointer the BPF compiler makes sixteen loads.
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        let (one, other) = (self.as_words(), other.as_words());
        one[3] == other[3] && one[2] == other[2] && one[1] == other[1] && one[0] == other[0]
    }
}

impl Hash for Addr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.octets.hash(state);
    }
}

impl From<IpAddr> for Addr {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::v4(ip.octets()),
            IpAddr::V6(ip) => Self::v6(ip.octets()),
        }
    }
}

impl From<Addr> for IpAddr {
    fn from(addr: Addr) -> Self {
        match addr.as_v4() {
            Some(octets) => Self::V4(Ipv4Addr::from(octets)),
            None => Self::V6(Ipv6Addr::from(addr.octets)),
        }
    }
}

/// Key of an LPM trie (`struct bpf_lpm_trie_key`, `include/uapi/linux/bpf.h`): the first
/// `prefix_len` bits of `addr` count, the rest are zero. An IPv4 prefix /n has length 96 + n.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Prefix {
    /// Bits that count, 0..=128, host order.
    pub prefix_len: u32,
    /// The network address.
    pub addr: Addr,
}
plain!(Prefix { prefix_len: u32, addr: Addr });

impl Prefix {
    /// The prefix that holds exactly `addr`.
    #[must_use]
    pub const fn host(addr: Addr) -> Self {
        Self { prefix_len: 128, addr }
    }

    /// The prefix of `ip` with `len` bits in its own family's count (0..=32 or 0..=128).
    #[must_use]
    pub fn new(ip: IpAddr, len: u8) -> Self {
        let offset = if ip.is_ipv4() { 96 } else { 0 };
        Self { prefix_len: offset + u32::from(len), addr: ip.into() }
    }

    /// The prefix as its own family counts it.
    #[must_use]
    pub fn parts(self) -> (IpAddr, u8) {
        let ip = IpAddr::from(self.addr);
        let offset = if ip.is_ipv4() { 96 } else { 0 };
        (ip, u8::try_from(self.prefix_len.saturating_sub(offset)).unwrap_or(128))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_either_family_survives_the_round_trip() {
        for text in ["0.0.0.0", "10.32.0.1", "255.255.255.255", "::", "::1", "2001:db8::5", "fe80::1"] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(IpAddr::from(Addr::from(ip)), ip);
        }
    }

    #[test]
    fn a_prefix_of_either_family_survives_the_round_trip() {
        for (text, len) in [("10.32.0.0", 12), ("0.0.0.0", 0), ("10.0.0.1", 32), ("fd00::", 48), ("::", 0)] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(Prefix::new(ip, len).parts(), (ip, len));
        }
    }
}
