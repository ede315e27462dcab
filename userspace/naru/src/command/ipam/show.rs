use std::net::IpAddr;

use ipnet::IpNet;
use naru_core::{
    ids::NetnsId,
    ipam::{Domain, Millis, Range, Row},
    reconcile::Facts,
};
use naru_node::{
    endpoint::{live_namespaces, observe},
    host,
    paths::Paths,
};
use serde::Serialize;

use super::{ShowArgs, view};
use crate::report::print_json;

/// `naru ipam show`: one of these for each domain that knows the address, with `--json` as a list. Absent things are
/// null.
#[derive(Serialize)]
struct Shown {
    /// The address.
    address: IpAddr,
    /// The domain in which it is unique: `naru`, or `ipam/<network>` for another main plugin's network.
    domain: String,
    /// `ASSIGNED`, `COOLING`, `RESERVED`, `FREE`, or `DRAINING` for a free one that is not assigned any more.
    status: &'static str,
    /// The pool.
    pool: Option<String>,
    /// The range of the pool.
    block: Option<IpNet>,
    /// `network/container/interface`
    attachment: Option<String>,
    /// `default/web-0`
    pod: Option<String>,
    /// The reason for which it is reserved.
    note: Option<String>,
    /// Number of the assignment.
    generation: Option<u64>,
    /// Time at which it came into this state, in milliseconds since 1970.
    since_ms: Option<Millis>,
    /// True if the attachment was wired.
    confirmed: Option<bool>,
    /// The holder's namespace.
    netns: Option<Netns>,
    /// The kernel's state; null in domains that naru's datapath does not carry.
    kernel: Option<Kernel>,
}

/// A namespace.
#[derive(Serialize)]
struct Netns {
    /// Its identity.
    id: String,
    /// A path to it; null when it is not alive.
    path: Option<String>,
}

/// The kernel's state of an address.
#[derive(Serialize)]
struct Kernel {
    /// Name of the veth that the host's route leads to.
    interface: Option<String>,
    /// Index that the route leads to.
    route_ifindex: Option<u32>,
    /// Index that the entry of `PODS` leads to.
    entry_ifindex: Option<u32>,
    /// Generation of that entry.
    entry_generation: Option<u64>,
}

/// Prints everything known about the address. Returns true if there is anything.
pub fn run(paths: &Paths, args: &ShowArgs) -> anyhow::Result<bool> {
    let (_, tools) = view::open(paths)?;
    let (ranges, facts) = (tools.store.ranges()?, observe(&tools)?);
    let all = shown(args.address, &ranges, &facts);
    if args.output.json {
        print_json(&all)?;
    } else if all.is_empty() {
        outln!("{}: in no pool of this node, and not in use", args.address);
    }
    if !args.output.json {
        all.iter().for_each(print);
    }
    Ok(!all.is_empty())
}

fn shown(address: IpAddr, ranges: &[Range], facts: &Facts) -> Vec<Shown> {
    let ranges: Vec<&Range> = ranges.iter().filter(|range| range.offset_of(address).is_some()).collect();
    let rows: Vec<&Row> = facts.rows.iter().filter(|row| row.address == address).collect();
    let mut domains: Vec<&Domain> =
        ranges.iter().map(|range| &range.domain).chain(rows.iter().map(|row| &row.domain)).collect();
    domains.sort_by_key(|domain| (**domain != Domain::naru(), *domain));
    domains.dedup();
    let one = |domain: &Domain| {
        // A draining range may lie beside the one that replaced it.
        let of_domain = ranges.iter().copied().filter(|range| range.domain == *domain);
        let range = of_domain.min_by_key(|range| range.draining);
        let row = rows.iter().copied().find(|row| row.domain == *domain);
        let kernel = (*domain == Domain::naru()).then(|| kernel(address, facts));
        Shown { kernel, ..stored(address, domain, range, row) }
    };
    domains.into_iter().map(one).collect()
}

fn stored(address: IpAddr, domain: &Domain, range: Option<&Range>, row: Option<&Row>) -> Shown {
    let draining = range.is_some_and(|range| range.draining);
    let free = if draining { "DRAINING" } else { "FREE" };
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    let held = row.filter(|row| row.owner.is_some());
    Shown {
        address,
        domain: domain.to_string(),
        status: row.map_or(free, |row| row.state.label()),
        pool: range.map(|range| range.pool.clone()),
        block: range.map(|range| range.net),
        attachment: row.and_then(|row| row.owner.as_ref()).map(ToString::to_string),
        pod: row.filter(|row| !row.pod.is_empty()).map(|row| row.pod.to_string()),
        note: row.and_then(|row| text(row.note.clone())),
        generation: held.map(|row| row.generation.0),
        since_ms: row.map(|row| host::time_of_day(row.since)),
        confirmed: held.map(|row| row.confirmed),
        netns: row.and_then(|row| row.netns).map(netns),
        kernel: None,
    }
}

fn netns(id: NetnsId) -> Netns {
    let path = live_namespaces().unwrap_or_default().remove(&id).map(|path| path.display().to_string());
    Netns { id: id.to_string(), path }
}

fn kernel(address: IpAddr, facts: &Facts) -> Kernel {
    let entry = facts.entries.iter().find(|entry| entry.address == address);
    let route = facts.routes.iter().find(|route| route.address == address);
    let index = route.map(|route| route.ifindex).or(entry.map(|entry| entry.ifindex));
    let link = facts.links.iter().find(|link| Some(link.ifindex) == index);
    Kernel {
        interface: link.map(|link| link.name.clone()),
        route_ifindex: route.map(|route| route.ifindex),
        entry_ifindex: entry.map(|entry| entry.ifindex),
        entry_generation: entry.map(|entry| entry.generation.0),
    }
}

fn print(one: &Shown) {
    let line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            outln!("{name:<12}{value}");
        }
    };
    let age = |since: u64| format!("{} s ago", host::time_of_day(host::now()).saturating_sub(since) / 1000);
    let (pool, block) = (one.pool.clone(), one.block.map(|block| block.to_string()));
    line("address", Some(one.address.to_string()));
    line("domain", Some(one.domain.clone()));
    line("status", Some(one.status.to_owned()));
    line("pool", Some(pool.unwrap_or_else(|| "none".to_owned())));
    line("block", block);
    line("pod", one.pod.clone());
    line("attachment", one.attachment.clone());
    line("note", one.note.clone());
    line("generation", one.generation.map(|generation| generation.to_string()));
    line("since", one.since_ms.map(age));
    line("confirmed", one.confirmed.map(|confirmed| if confirmed { "yes" } else { "no" }.to_owned()));
    line("netns", one.netns.as_ref().map(|netns| described(&netns.id, netns.path.as_deref())));
    if let Some(kernel) = &one.kernel {
        line("interface", kernel.interface.clone());
        line("route", kernel.route_ifindex.map(|index| format!("to interface {index}")));
        let entry = kernel.entry_ifindex.zip(kernel.entry_generation);
        line(
            "map entry",
            entry.map(|(index, generation)| format!("to interface {index}, generation {generation}")),
        );
    }
}

fn described(id: &str, path: Option<&str>) -> String {
    format!("{id}, {}", path.unwrap_or("not alive"))
}
