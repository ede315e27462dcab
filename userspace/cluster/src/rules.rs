//! The rules that hold for nodes and blocks wherever they are agreed.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

/// Networks that share no address, by their first one, each with its owner: a network is compared with its two
/// neighbours, not with every other.
pub struct Taken<T> {
    by_start: BTreeMap<IpAddr, (IpNet, T)>,
}

impl<T> Default for Taken<T> {
    fn default() -> Self {
        Self { by_start: BTreeMap::new() }
    }
}

impl<T> Taken<T> {
    /// Takes the network, or returns one of those taken before that shares an address with it, and its owner.
    pub fn take(&mut self, network: IpNet, owner: T) -> Option<&(IpNet, T)> {
        let start = network.network();
        let before = self.by_start.range(..=start).next_back();
        let after = self.by_start.range(start..).next();
        let found = [before, after].into_iter().flatten().find(|(_, (other, _))| overlap(*other, network));
        match found.map(|(start, _)| *start) {
            Some(start) => self.by_start.get(&start),
            None => {
                self.by_start.insert(start, (network, owner));
                None
            }
        }
    }

    /// The network that holds the address, and its owner.
    #[must_use]
    pub fn holder(&self, address: IpAddr) -> Option<&(IpNet, T)> {
        let (_, found) = self.by_start.range(..=address).next_back()?;
        found.0.contains(&address).then_some(found)
    }
}

/// Returns true if two networks share an address.
fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b) || b.contains(&a)
}

/// Returns true if a node may have this address towards others.
#[must_use]
pub const fn is_usable(address: IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some(),
    };
    !(is_link_local || address.is_unspecified() || address.is_loopback() || address.is_multicast())
}

/// Returns true if a node may have this name.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=253).contains(&name.len()) && name.chars().all(is_allowed)
}
