//! Division of a range between nodes into even shares, each of as few blocks as possible.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

/// The share of one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Share {
    /// Its blocks, in order.
    pub blocks: Vec<IpNet>,
    /// The number of addresses that pods can have: of an IPv4 range that is longer than two addresses, all but its
    /// network and broadcast address.
    pub assignable: u128,
}

/// The reasons for which a range was not divided.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SplitError {
    /// There is no node to divide it between.
    #[error("a range cannot be divided between 0 nodes")]
    NoNodes,
    /// There are fewer addresses than nodes.
    #[error("range {range} has fewer than {nodes} addresses, one for each node")]
    TooSmall {
        /// The range.
        range: IpNet,
        /// The number of nodes.
        nodes: u32,
    },
}

/// Divides `range` between `nodes`, in the order of its addresses. The unit is 256 addresses (for IPv6 a 4096th part
/// of the range) if there are enough units, else a single address. Shares differ by one unit at most, the larger ones
/// come first, and together they are the whole range.
///
/// # Errors
/// [`SplitError`]
pub fn split(range: IpNet, nodes: u32) -> Result<Vec<Share>, SplitError> {
    let range = range.trunc();
    if nodes == 0 {
        return Err(SplitError::NoNodes);
    }
    let unit_bits = unit_bits(range, nodes);
    let host_bits = range.max_prefix_len() - range.prefix_len();
    let units = 1_u128.checked_shl(u32::from(host_bits - unit_bits)).unwrap_or(u128::MAX);
    let (least, larger) = (units / u128::from(nodes), units % u128::from(nodes));
    if least == 0 {
        return Err(SplitError::TooSmall { range, nodes });
    }
    let mut shares = Vec::new();
    let mut start = 0;
    for node in 0..u128::from(nodes) {
        let length = least + u128::from(node < larger);
        shares.push(share(range, start << unit_bits, length << unit_bits));
        start += length;
    }
    Ok(shares)
}

/// Number of address bits in a unit.
fn unit_bits(range: IpNet, nodes: u32) -> u8 {
    let host_bits = range.max_prefix_len() - range.prefix_len();
    let wanted = match range {
        IpNet::V4(_) => 8,
        IpNet::V6(_) => host_bits.saturating_sub(12),
    };
    let is_enough =
        |bits: u8| host_bits >= bits && u128::from(nodes) <= 1_u128 << (host_bits - bits).min(127);
    if is_enough(wanted) { wanted } else { 0 }
}

/// The part of `range` that begins at the offset `start`.
fn share(range: IpNet, start: u128, length: u128) -> Share {
    let (first, last) = (address_at(range, start), address_at(range, start + (length - 1)));
    let blocks = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => Ipv4Subnets::new(first, last, 0).map(IpNet::V4).collect(),
        (IpAddr::V6(first), IpAddr::V6(last)) => Ipv6Subnets::new(first, last, 0).map(IpNet::V6).collect(),
        // Offsets of one range have its family.
        _ => Vec::new(),
    };
    let has_edges = range.addr().is_ipv4() && range.prefix_len() <= 30;
    let edges = [range.network() == first, range.broadcast() == last];
    let kept = edges.into_iter().filter(|here| *here && has_edges).count() as u128;
    Share { blocks, assignable: length - kept }
}

fn address_at(range: IpNet, offset: u128) -> IpAddr {
    match range.network() {
        IpAddr::V4(first) => {
            let offset = u32::try_from(offset).unwrap_or(u32::MAX);
            Ipv4Addr::from_bits(first.to_bits().saturating_add(offset)).into()
        }
        IpAddr::V6(first) => Ipv6Addr::from_bits(first.to_bits().saturating_add(offset)).into(),
    }
}
