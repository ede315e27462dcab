//! Blocks of addresses (`ipBlock`).

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

/// A range of addresses without parts of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Block {
    /// The range, without bits behind its length.
    pub cidr: IpNet,
    /// The parts of it that do not belong to it.
    pub except: Vec<IpNet>,
}

impl Block {
    /// A block; bits of the ranges behind their lengths are cleared, and exceptions are cut to the range.
    #[must_use]
    pub fn new(cidr: IpNet, except: &[IpNet]) -> Self {
        let cidr = cidr.trunc();
        let within = |part: &IpNet| match part.trunc() {
            part if cidr.contains(&part) => Some(part),
            part if part.contains(&cidr) => Some(cidr),
            _ => None,
        };
        let mut except = except.iter().filter_map(within).collect::<Vec<_>>();
        except.sort_unstable();
        except.dedup();
        Self { cidr, except }
    }

    /// Returns true if the address belongs to it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.cidr.contains(&address) && !self.except.iter().any(|part| part.contains(&address))
    }
}

impl std::fmt::Display for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.cidr)?;
        if self.except.is_empty() {
            return Ok(());
        }
        let parts = self.except.iter().map(ToString::to_string).collect::<Vec<_>>();
        write!(f, " except {}", parts.join(", "))
    }
}

/// Reads a range as the API server does: an octet may have leading zeros and is decimal then, and an IPv4-mapped range
/// is the IPv4 range that it stands for. Returns `None` for what is no range.
#[must_use]
pub fn parse_net(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/')?;
    let length = length.parse::<u8>().ok().filter(|_| length.bytes().all(|byte| byte.is_ascii_digit()))?;
    let net = IpNet::new(parse_address(address)?, length);
    match (net, address.parse()) {
        (_, Ok(IpAddr::V6(mapped))) if mapped.to_ipv4_mapped().is_some() && length >= 96 => {
            let address = mapped.to_ipv4_mapped()?;
            Ipv4Net::new(address, length - 96).ok().map(|net| IpNet::V4(net).trunc())
        }
        (net, _) => net.ok().map(|net| net.trunc()),
    }
}

/// Reads an address as the API server does, see [`parse_net`].
#[must_use]
pub fn parse_address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let octets = text.split('.').map(|octet| match octet.trim_start_matches('0') {
        "" if !octet.is_empty() => Some(0),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
        _ => None,
    });
    let octets: [u8; 4] = octets.collect::<Option<Vec<u8>>>()?.try_into().ok()?;
    Some(IpAddr::V4(Ipv4Addr::from(octets)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_api_server_reads_them() {
        let read = |text| parse_net(text).map(|net| net.to_string());
        for (text, net) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("010.000.0.0/8", "10.0.0.0/8"),
            ("fd00::1/64", "fd00::/64"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(read(text).as_deref(), Some(net), "{text}");
        }
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0/8",
            "10.0.0.256/8",
            "fd00::/129",
            "a.b.c.d/8",
            "1.2.3.4/+8",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
