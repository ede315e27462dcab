use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use naru_core::{
    ids::{Generation, Label},
    reconcile::{Facts, HostRoute, LiveLink, MapEntry},
};
use naru_netlink::links::{Links, RouteTarget};

use super::{Cause, Tools, namespaces};

/// Reads everything that the store and the kernel hold about attachments. The store is read first: an attachment made
/// in between then appears live without a row, never as a row without life.
///
/// # Errors
/// An adapter's; no partial result is returned.
pub fn observe(tools: &Tools) -> Result<Facts, Cause> {
    let rows = tools.store.rows()?;
    // An ADD enters an existing interface, so an entry whose interface is not seen after this is left over.
    let entered = tools.maps.interfaces.list()?;
    let routes = pod_routes(&tools.links)?;
    let links = live_links(&tools.links, &routes)?;
    let orphans = orphans(&tools.links, entered, &links)?;
    let entries = tools.maps.pods.entries()?;
    let entries = entries.into_iter().map(|(address, value)| MapEntry {
        address: address.into(),
        ifindex: value.ifindex,
        generation: Generation(value.generation),
    });
    let netns: BTreeSet<_> = namespaces::alive()?.into_keys().collect();
    Ok(Facts { rows, links, netns, entries: entries.collect(), routes, orphans })
}

/// Returns the entered interfaces that do not exist; `live` are known to exist.
fn orphans(links: &Links, mut entered: Vec<u32>, live: &[LiveLink]) -> Result<Vec<u32>, Cause> {
    let live: BTreeSet<u32> = live.iter().map(|link| link.ifindex).collect();
    entered.retain(|ifindex| !live.contains(ifindex));
    let mut gone = Vec::new();
    for ifindex in entered {
        if links.link_at(ifindex)?.is_none() {
            gone.push(ifindex);
        }
    }
    Ok(gone)
}

/// The routes of our protocol that lead to one pod address over an interface.
pub(super) fn pod_routes(links: &Links) -> Result<Vec<HostRoute>, Cause> {
    let to_pod = |route: naru_netlink::links::Route| match route.target {
        RouteTarget::Device { index }
            if route.destination.prefix_len() == route.destination.max_prefix_len() =>
        {
            Some(HostRoute { address: route.destination.addr(), ifindex: index })
        }
        _ => None,
    };
    let mut routes: Vec<HostRoute> = links.routes()?.into_iter().filter_map(to_pod).collect();
    // A route and its spare count as one; a route over another interface may stand between them.
    let mut seen = BTreeSet::new();
    routes.retain(|route| seen.insert((route.address, route.ifindex)));
    Ok(routes)
}

/// Our host veths with the addresses that `routes` lead over them.
pub(super) fn live_links(links: &Links, routes: &[HostRoute]) -> Result<Vec<LiveLink>, Cause> {
    let mut addresses: BTreeMap<u32, Vec<IpAddr>> = BTreeMap::new();
    for route in routes {
        addresses.entry(route.ifindex).or_default().push(route.address);
    }
    let live = |link: naru_netlink::links::Link| {
        Some(LiveLink {
            ifindex: link.index,
            alias: link.alias.parse::<Label>().ok()?.alias,
            name: link.name,
            addresses: addresses.remove(&link.index).unwrap_or_default(),
            netns: None,
        })
    };
    Ok(links.host_veths()?.into_iter().filter_map(live).collect())
}
