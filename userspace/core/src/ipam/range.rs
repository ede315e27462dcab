use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::chunk::CHUNK_BITS;
use super::{Chunk, Domain, Family};
use crate::ids::Generation;

/// The number of addresses used of one range at most: a /12 of IPv4 in full, the beginning of an IPv6 /64.
pub const MAX_RANGE: u32 = 1 << 20;

/// A range of a pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Range {
    /// The domain in which its addresses are unique.
    pub domain: Domain,
    /// The pool.
    pub pool: String,
    /// Its addresses, of which the first 2^20 are used.
    pub net: IpNet,
    /// True if no address is given out from it any more.
    pub draining: bool,
    /// The offset after the one given out last.
    pub cursor: u32,
    /// Generation of the assignment it gave out last; the pool goes on in its range with the largest.
    pub turn: Generation,
}

impl Range {
    /// Its family.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.net.addr())
    }

    /// The number of its addresses that are used, including reserved ones.
    #[must_use]
    pub fn size(&self) -> u32 {
        let host_bits = u32::from(self.net.max_prefix_len() - self.net.prefix_len());
        1_u32.checked_shl(host_bits).map_or(MAX_RANGE, |size| size.min(MAX_RANGE))
    }

    /// The address at an offset below [`Range::size`].
    #[must_use]
    pub fn address_at(&self, offset: u32) -> IpAddr {
        match self.net.network() {
            IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits().saturating_add(offset)).into(),
            IpAddr::V6(first) => Ipv6Addr::from_bits(first.to_bits().saturating_add(offset.into())).into(),
        }
    }

    /// The offset of an address; `None` for one outside, or beyond the part that is used.
    #[must_use]
    pub fn offset_of(&self, address: IpAddr) -> Option<u32> {
        let distance = match (self.net.network(), address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                u128::from(address.to_bits().checked_sub(first.to_bits())?)
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => address.to_bits().checked_sub(first.to_bits())?,
            _ => return None,
        };
        u32::try_from(distance).ok().filter(|offset| *offset < self.size())
    }

    /// The last address that is used.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        self.address_at(self.size() - 1)
    }

    /// Its chunks with every address free.
    pub(super) fn empty_chunks(&self) -> impl Iterator<Item = Chunk> + use<> {
        let size = self.size();
        let chunks = 0..size.div_ceil(CHUNK_BITS);
        chunks.map(move |index| Chunk::new(index, (size - index * CHUNK_BITS).min(CHUNK_BITS)))
    }

    /// Addresses that the range's own shape keeps from pods, each if asked for: network and broadcast address of an
    /// IPv4 range (not of a /31, RFC 3021), the subnet-router anycast address of an IPv6 range (RFC 4291, section
    /// 2.6.1; not of a /127, RFC 6164).
    pub(super) fn kept(&self, (edges, anycast): (bool, bool)) -> Vec<(IpAddr, &'static str)> {
        let single = self.net.max_prefix_len() - self.net.prefix_len() <= 1;
        match (self.family(), single) {
            (Family::V6, false) if anycast => vec![(self.net.network(), "subnet-router anycast")],
            (Family::V4, false) if edges => {
                vec![(self.net.network(), "network"), (self.net.broadcast(), "broadcast")]
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(net: &str) -> Range {
        let (domain, pool) = (Domain::naru(), String::from("default"));
        Range { domain, pool, net: net.parse().unwrap(), draining: false, cursor: 0, turn: Generation(0) }
    }

    #[test]
    fn a_range_uses_all_its_addresses_up_to_a_million() {
        let sizes = ["10.0.0.0/32", "10.0.0.0/31", "10.0.0.0/24", "10.32.0.0/12", "10.0.0.0/8", "0.0.0.0/0"]
            .map(|net| range(net).size());
        assert_eq!(sizes, [1, 2, 256, MAX_RANGE, MAX_RANGE, MAX_RANGE]);
        let sizes =
            ["fd00::/128", "fd00::/127", "fd00::/112", "fd00::/64", "::/0"].map(|net| range(net).size());
        assert_eq!(sizes, [1, 2, 65536, MAX_RANGE, MAX_RANGE]);
    }

    #[test]
    fn offsets_and_addresses_are_each_others_inverse() {
        for net in ["10.32.0.0/12", "fd00::/112", "255.255.255.255/32", "ffff::/16"] {
            let range = range(net);
            for offset in [0, range.size() / 2, range.size() - 1] {
                assert_eq!(range.offset_of(range.address_at(offset)), Some(offset), "{net}");
            }
            assert_eq!(range.offset_of(range.last()), Some(range.size() - 1));
        }
    }

    #[test]
    fn addresses_outside_or_beyond_the_used_part_have_no_offset() {
        let inside = |net: &str, address: &str| range(net).offset_of(address.parse().unwrap()).is_some();
        assert!(!inside("10.0.0.0/24", "10.0.1.0"));
        assert!(!inside("10.0.0.0/24", "9.255.255.255"));
        assert!(!inside("10.0.0.0/24", "fd00::1"));
        assert!(!inside("fd00::/64", "fd00::10:0"));
        assert!(!inside("fd00::/64", "fd00::1:0:0:1"));
        assert!(inside("fd00::/64", "fd00::f:ffff"));
    }

    #[test]
    fn chunks_cover_exactly_the_range() {
        for net in ["10.0.0.0/32", "10.0.0.0/24", "10.0.0.0/19", "10.32.0.0/12"] {
            let free: u32 = range(net).empty_chunks().map(|chunk| chunk.free()).sum();
            assert_eq!(free, range(net).size());
        }
        assert_eq!(range("10.0.0.0/19").empty_chunks().count(), 2);
    }

    #[test]
    fn only_the_shape_of_a_range_decides_what_it_keeps_from_pods() {
        let kept = |net: &str, edges| {
            range(net)
                .kept((edges, true))
                .into_iter()
                .map(|(address, _)| address.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(kept("fd00::/112", false), ["fd00::"]);
        assert!(kept("fd00::/127", true).is_empty());
        assert!(kept("fd00::/128", true).is_empty());
        assert!(kept("10.0.0.0/24", false).is_empty());
        assert_eq!(kept("10.0.0.0/24", true), ["10.0.0.0", "10.0.0.255"]);
        assert!(kept("10.0.0.0/31", true).is_empty());
        assert!(range("fd00::8/125").kept((true, false)).is_empty());
    }
}
