//! Lists of networks.

use ipnet::IpNet;
use toml::Spanned;

use super::{convert::Misfit, raw::List};
use crate::{error::Problem, rules::Taken};

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
