//! The scope of an address: multicast, link-local.

use naru_abi::Addr;

/// Multicast of either family, or the IPv4 broadcast address.
#[inline(always)]
#[must_use]
pub fn is_multicast(addr: Addr) -> bool {
    match addr.as_v4() {
        Some(v4) => v4[0] & 0xf0 == 0xe0 || v4 == [255; 4],
        None => addr.octets[0] == 0xff,
    }
}

/// Multicast that no router forwards: 224.0.0.0/24 (RFC 5771), IPv6 of interface or link scope (RFC 4291).
#[inline(always)]
#[must_use]
pub fn is_link_multicast(addr: Addr) -> bool {
    match addr.as_v4() {
        Some(v4) => matches!(v4, [224, 0, 0, _]),
        None => addr.octets[0] == 0xff && matches!(addr.octets[1] & 0x0f, 1 | 2),
    }
}

/// 169.254.0.0/16 or fe80::/10.
#[inline(always)]
#[must_use]
pub fn is_link_local(addr: Addr) -> bool {
    match addr.as_v4() {
        Some(v4) => matches!(v4, [169, 254, _, _]),
        None => addr.octets[0] == 0xfe && addr.octets[1] & 0xc0 == 0x80,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn addr(text: &str) -> Addr {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn multicast_is_told_by_its_prefix_in_both_families() {
        for text in ["224.0.0.1", "239.255.255.255", "255.255.255.255", "ff02::1", "ff0e::1"] {
            assert!(is_multicast(addr(text)), "{text}");
        }
        for text in ["223.255.255.255", "240.0.0.1", "10.0.0.255", "fe80::1", "2001:db8::1", "::"] {
            assert!(!is_multicast(addr(text)), "{text}");
        }
    }

    #[test]
    fn multicast_of_link_scope_is_no_routable_one() {
        for text in ["224.0.0.22", "ff02::16", "ff01::1", "ff12::1"] {
            assert!(is_link_multicast(addr(text)), "{text}");
        }
        for text in ["224.0.1.1", "255.255.255.255", "ff05::2", "ff0e::1", "fe02::1"] {
            assert!(!is_link_multicast(addr(text)), "{text}");
        }
    }

    #[test]
    fn link_local_ends_where_its_prefix_ends() {
        for text in ["169.254.0.0", "169.254.255.255", "fe80::1", "febf:ffff::1"] {
            assert!(is_link_local(addr(text)), "{text}");
        }
        for text in ["169.253.255.255", "169.255.0.0", "fec0::1", "fe7f::1", "10.0.0.1"] {
            assert!(!is_link_local(addr(text)), "{text}");
        }
    }
}
