use naru_node::machine::MARKS;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use naru_abi::RouteValue;
use naru_bpf::Routes;
use naru_netlink::links::{self, Links, Route, RouteTarget};
use naru_node::paths::Paths;
use serde::Serialize;

use crate::report::{OutputArgs, Table, print_json};

/// One entry of `ROUTES`. `naru routes --json` is a list of these in the order of their prefixes.
#[derive(Serialize)]
struct Entry {
    /// The key.
    prefix: IpNet,
    /// `tunnel`, `direct`, `local-block`, `remote-node`, `local-node`, `no-masquerade` or `direct-node`.
    kind: String,
    /// The address at which the tunnel ends; null for local kinds.
    node: Option<IpAddr>,
    /// Path MTU in bytes; null where it does not apply.
    mtu: Option<u32>,
    /// The kernel route of the same destination; null where none is needed.
    route: Option<KernelRoute>,
}

/// `{"table": 254, "via": "169.254.1.1", "device": "naru-vx", "source": "198.51.100.1", "mtu": 1450}`
#[derive(Serialize, Clone)]
struct KernelRoute {
    /// Routing table.
    table: u32,
    /// Next hop; null for an unreachable route.
    via: Option<IpAddr>,
    /// Name of the interface; null for an unreachable route.
    device: Option<String>,
    /// Preferred source of the node's own packets.
    source: Option<IpAddr>,
    /// MTU in bytes.
    mtu: Option<u32>,
}

/// Prints the datapath's entries for prefixes, with the kernel route of each.
pub fn run(paths: &Paths, args: &OutputArgs) -> anyhow::Result<()> {
    let entries = Routes::open(&paths.pins())?.entries()?;
    let kernel = kernel_routes(&Links::open(MARKS)?)?;
    let mut entries: Vec<Entry> =
        entries.into_iter().filter_map(|(prefix, value)| entry(prefix, value, &kernel)).collect();
    entries.sort_by_key(|entry| entry.prefix);
    if args.json {
        return print_json(&entries);
    }
    let mut table = Table::new(&["PREFIX", "KIND", "NODE", "MTU", "KERNEL ROUTE"]);
    for entry in entries {
        let node = entry.node.map_or_else(|| "-".into(), |node| node.to_string());
        let mtu = entry.mtu.map_or_else(|| "-".into(), |mtu| mtu.to_string());
        let route = entry.route.map_or_else(|| "-".into(), |route| words(&route));
        table.row(vec![entry.prefix.to_string(), entry.kind, node, mtu, route]);
    }
    out!("{table}");
    Ok(())
}

fn entry(
    prefix: naru_abi::Prefix,
    value: RouteValue,
    kernel: &BTreeMap<IpNet, KernelRoute>,
) -> Option<Entry> {
    let (address, length) = prefix.parts();
    let prefix = IpNet::new(address, length).ok()?;
    let kind = value.kind();
    Some(Entry {
        prefix,
        kind: kind.map_or_else(|error| error.to_string(), |kind| kind.label().to_owned()),
        node: (!value.node.is_unspecified()).then(|| value.node.into()),
        mtu: (value.mtu != 0).then_some(value.mtu),
        route: kernel.get(&prefix).cloned(),
    })
}

/// Returns our kernel routes by destination. Of several to one destination it is the one that leads somewhere, and not
/// the spare.
fn kernel_routes(links: &Links) -> anyhow::Result<BTreeMap<IpNet, KernelRoute>> {
    let mut routes = links.routes()?;
    let named: BTreeSet<IpNet> =
        routes.iter().filter(|route| !route.is_spare()).map(|route| route.destination).collect();
    routes.retain(|route| !route.is_spare() || !named.contains(&route.destination));
    routes.sort_by_key(|route| route.target != RouteTarget::Unreachable);
    let mut kernel = BTreeMap::new();
    for route in routes {
        kernel.insert(route.destination, kernel_route(links, route)?);
    }
    Ok(kernel)
}

fn kernel_route(links: &Links, route: Route) -> anyhow::Result<KernelRoute> {
    let (via, index) = match route.target {
        RouteTarget::Gateway { index, via } => (Some(via), Some(index)),
        RouteTarget::Device { index } => (None, Some(index)),
        RouteTarget::Unreachable => (None, None),
    };
    let device = index.map_or(Ok(None), |index| links.link_at(index))?.map(|link| link.name);
    Ok(KernelRoute { table: route.table, via, device, source: route.source, mtu: route.mtu })
}

fn words(route: &KernelRoute) -> String {
    let Some(device) = &route.device else { return "unreachable".into() };
    let via = route.via.map_or_else(String::new, |via| format!("via {via} "));
    let table = if route.table == links::MAIN { String::new() } else { format!(" table {}", route.table) };
    format!("{via}dev {device}{table}")
}
