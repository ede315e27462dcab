//! Lists of networks.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use toml::Spanned;

use super::{convert::Misfit, raw::List};
use crate::error::Problem;

/// The networks of a list; no two of them share an address.
pub fn list(raw: &Spanned<List>) -> Result<Vec<IpNet>, Misfit> {
    let mut networks = Vec::with_capacity(raw.get_ref().len());
    let mut taken = Taken::default();
    for entry in raw.get_ref() {
        let network = network(entry)?;
        if let Some((other, ())) = taken.take(network, ()) {
            return Err(Misfit::new(entry, Problem::Overlap { network, other: *other }));
        }
        networks.push(network);
    }
    Ok(networks)
}

/// One network, without host bits.
fn network(entry: &Spanned<String>) -> Result<IpNet, Misfit> {
    let text = entry.get_ref();
    let given: IpNet = text.parse().map_err(|_| Misfit::new(entry, Problem::NotANetwork(text.clone())))?;
    let network = given.trunc();
    if given == network { Ok(network) } else { Err(Misfit::new(entry, Problem::HostBits { given, network })) }
}

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
}

/// Returns true if two networks share an address.
fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b) || b.contains(&a)
}
