use std::{collections::BTreeMap, net::IpAddr, process::ExitCode};

use ipnet::IpNet;
use naru_node::{
    datapath::{AttachMode, Datapath, Pins, overlay_attachment},
    health,
    host::firewall,
    init::{self, DEVICE, Memory, NodeFacts},
    paths::Paths,
};
use serde::Serialize;

use super::stats::hook_table;
use crate::{
    args::OutputArgs,
    report::{HookRow, Owners, Tally, hooks, print_json},
};

/// Shape of `naru status --json`. On a machine that is not initialised in this boot only `initialised` (false) and
/// `warnings` say something.
#[derive(Serialize, Default)]
struct Status {
    /// Whether init was done in this boot and what it made is there.
    initialised: bool,
    /// This node's name.
    node: Option<String>,
    /// Its addresses, the underlay address first.
    addresses: Vec<IpAddr>,
    /// Its blocks of the cluster.
    blocks: Vec<IpNet>,
    /// Subnets of network configurations, a list for each pool.
    subnets: Vec<Vec<IpNet>>,
    /// MTU of pods.
    pod_mtu: Option<u32>,
    /// Nodes of the cluster, this one included.
    nodes: Vec<String>,
    /// `tcx` or `clsact`; null without a tunnel device.
    attach: Option<&'static str>,
    /// Pods' interfaces.
    interfaces: usize,
    /// Pods' addresses.
    pods: usize,
    /// What is wrong.
    warnings: Vec<String>,
    /// Named counters of the nftables table: `forwarded`, `invalid_to_outside`.
    nft: BTreeMap<String, Tally>,
    /// By hook and outcome.
    hooks: Vec<HookRow>,
}

/// Prints what this node is. Exit status 1 when it is not initialised.
pub fn run(paths: &Paths, args: &OutputArgs) -> anyhow::Result<ExitCode> {
    let status = match init::current(paths)? {
        Some(facts) => gather(paths, facts)?,
        None => Status { warnings: vec!["not initialised in this boot".into()], ..Status::default() },
    };
    if args.json {
        print_json(&status)?;
    } else {
        print(&status);
    }
    Ok(if status.initialised { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn gather(paths: &Paths, facts: NodeFacts) -> anyhow::Result<Status> {
    let pins = Pins::new(paths);
    let datapath = Datapath::open(&pins)?;
    let memory = Memory::load(paths)?;
    let counters = firewall::counters()?.unwrap_or_default();
    let tally = |value: firewall::CounterValue| Tally { packets: value.packets, bytes: value.bytes };
    Ok(Status {
        initialised: true,
        nodes: memory.iter().flat_map(|memory| &memory.cluster.nodes).map(|node| node.name.clone()).collect(),
        attach: overlay_attachment(&pins, DEVICE).ok().and_then(|found| found.mode).map(name_of),
        interfaces: Owners::read(paths).interfaces().count(),
        pods: datapath.pods()?.entries()?.len(),
        warnings: memory.map_or(Ok(Vec::new()), |memory| health::warnings(paths, &memory))?,
        nft: counters.into_iter().map(|(name, value)| (name, tally(value))).collect(),
        hooks: hooks(&datapath)?,
        node: Some(facts.node),
        addresses: facts.addresses,
        blocks: facts.blocks,
        subnets: facts.subnets,
        pod_mtu: Some(facts.pod_mtu),
    })
}

const fn name_of(mode: AttachMode) -> &'static str {
    match mode {
        AttachMode::Auto => "auto",
        AttachMode::Tcx => "tcx",
        AttachMode::Clsact => "clsact",
    }
}

fn print(status: &Status) {
    if let (Some(node), Some(mtu)) = (&status.node, status.pod_mtu) {
        println!("node       {node} ({})", joined(&status.addresses));
        println!("blocks     {}", joined(status.blocks.iter().chain(status.subnets.iter().flatten())));
        println!(
            "cluster    {}",
            if status.nodes.is_empty() { "none".into() } else { status.nodes.join(" ") }
        );
        println!("pods       {} interfaces, {} addresses, mtu {mtu}", status.interfaces, status.pods);
        println!("tunnel     {}", status.attach.unwrap_or("none"));
        for (name, tally) in &status.nft {
            println!("nftables   {name}: {} packets, {} bytes", tally.packets, tally.bytes);
        }
    }
    for warning in &status.warnings {
        println!("warning    {warning}");
    }
    if !status.hooks.is_empty() {
        print!("\n{}", hook_table(&status.hooks));
    }
}

fn joined<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(" ")
}
