//! Comparison of pod ranges with all other addresses that this machine knows.

use ipnet::IpNet;
use naru_core::overlap::{Claim, Clash, Holder, Suggestion, clashes, is_suggestible};
use naru_netlink::links::{ForeignRoute, LinkError, Links, NodeAddress};

use super::{MachineError, Settings};

/// Returns the present clashes of those pod ranges that `concerns` chooses; without those with the machine's addresses
/// and routes, if the settings allow them.
///
/// # Errors
/// The kernel refuses a dump.
pub fn overlaps(
    links: &Links,
    settings: &Settings,
    concerns: impl Fn(&IpNet) -> bool,
) -> Result<Vec<Clash>, MachineError> {
    let ranges = settings.ranges();
    let looked_at: Vec<IpNet> = ranges.iter().copied().filter(|range| concerns(range)).collect();
    if looked_at.is_empty() {
        return Ok(Vec::new());
    }
    let mut all = known(settings);
    if !settings.allow_overlap {
        all.extend(held(links, |route| looked_at.iter().any(|range| range.contains(route)))?);
    }
    let found = clash(&ranges, &concerns, &all);
    if found.is_empty() || settings.fixed_ranges {
        let fixed = |clash| Clash { suggestion: Suggestion::Fixed, ..clash };
        return Ok(found.into_iter().map(fixed).collect());
    }
    // A suggestion must be free of every route.
    all.extend(held(links, is_suggestible)?);
    Ok(clash(&ranges, &concerns, &all))
}

fn clash(ranges: &[IpNet], concerns: &impl Fn(&IpNet) -> bool, claims: &[Claim]) -> Vec<Clash> {
    let mut found = Vec::new();
    for (at, range) in ranges.iter().enumerate().filter(|(_, range)| concerns(range)) {
        let others = ranges.iter().enumerate().filter(|(other, _)| *other != at);
        let others = others.map(|(_, other)| claim(*other, Holder::PodRange));
        let all: Vec<Claim> = claims.iter().cloned().chain(others).collect();
        found.extend(clashes(&[*range], &all));
    }
    found
}

/// The addresses that the node's settings name.
fn known(settings: &Settings) -> Vec<Claim> {
    let remotes = settings.cluster.remotes(&settings.node).flat_map(|node| &node.addresses);
    let remotes = remotes.map(|ip| claim(IpNet::from(*ip), Holder::RemoteNode));
    remotes.chain(settings.services.iter().map(|range| claim(*range, Holder::Services))).collect()
}

const fn claim(network: IpNet, holder: Holder) -> Claim {
    Claim { network, holder, device: None }
}

/// Addresses of the machine, and those of its routes to destinations that `concerns` chooses.
fn held(links: &Links, concerns: impl Fn(&IpNet) -> bool) -> Result<Vec<Claim>, LinkError> {
    let mut claims = Vec::new();
    for NodeAddress { ip, index, .. } in links.addresses()? {
        let device = links.link_at(index)?.map(|link| link.name);
        claims.push(Claim { network: IpNet::from(ip), holder: Holder::NodeAddress, device });
    }
    for ForeignRoute { destination, device, is_links_own } in links.foreign_routes(concerns)? {
        let device = device.map_or(Ok(None), |index| links.link_at(index))?.map(|link| link.name);
        let holder = if is_links_own { Holder::LinkPrefix } else { Holder::HostRoute };
        claims.push(Claim { network: destination, holder, device });
    }
    Ok(claims)
}
