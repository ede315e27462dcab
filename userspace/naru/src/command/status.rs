use naru_node::machine;
use std::{collections::BTreeMap, net::IpAddr, process::ExitCode};

use ipnet::IpNet;
use naru_bpf::{AttachMode, Chain, Datapath, Member, Side, attachment, chains};
use naru_node::{
    health,
    host::firewall,
    machine::{DEVICE, NodeFacts, Settings},
    paths::Paths,
};
use serde::Serialize;

use super::stats::hook_table;
use crate::report::{HookRow, OutputArgs, Owners, Tally, hooks, print_json};

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
    /// UDP port of the tunnel; null without one.
    tunnel_port: Option<u16>,
    /// UDP port of the tunnel device: another one where the tunnel's is somebody else's on this machine.
    device_port: Option<u16>,
    /// `routing` of cluster.toml for this node; null without a cluster.
    routing: Option<&'static str>,
    /// `encapsulation` of cluster.toml for this node; null without a cluster.
    encapsulation: Option<&'static str>,
    /// Uplinks that programs of ours are attached to.
    uplinks: Vec<String>,
    /// What sees the packets of the tunnel device and the uplinks, beside ours.
    programs: Vec<Programs>,
    /// Pods' interfaces.
    interfaces: usize,
    /// Pods' addresses.
    pods: usize,
    /// Entries of FLOWS: packets that must take the stack, which translates their flow.
    flows: usize,
    /// How many there may be; then new connections by Services and host ports are dropped.
    flows_capacity: u32,
    /// What is wrong.
    warnings: Vec<String>,
    /// Named counters of the nftables table: `forwarded`, `invalid_to_outside`.
    nft: BTreeMap<String, Tally>,
    /// By hook and outcome.
    hooks: Vec<HookRow>,
}

/// One direction of a device that ours are attached to.
#[derive(Serialize)]
struct Programs {
    /// The device.
    interface: String,
    /// `ingress` or `egress`.
    direction: &'static str,
    /// How many of ours there are; one where all is well.
    ours: usize,
    /// Programs and filters of others that see packets before ours.
    before: Vec<String>,
    /// Those that see only what ours pass on to the stack.
    after: Vec<String>,
}

/// Prints what this node is. Exit status 1 when it is not initialised.
pub fn run(paths: &Paths, args: &OutputArgs) -> anyhow::Result<ExitCode> {
    let status = match machine::current(paths)? {
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
    let pins = paths.pins();
    let datapath = Datapath::open(&pins)?;
    let memory = Settings::load(paths)?;
    let clustered = memory.as_ref().filter(|memory| memory.is_clustered());
    let mut warnings = memory.as_ref().map_or(Ok(Vec::new()), |memory| health::warnings(paths, memory))?;
    let counters = firewall::counters()?;
    if counters.is_none() {
        warnings.push("nftables: the table inet naru is gone: nothing is masqueraded".to_owned());
    }
    let tally = |value: firewall::CounterValue| Tally { packets: value.packets, bytes: value.bytes };
    Ok(Status {
        initialised: true,
        nodes: memory.iter().flat_map(|memory| &memory.cluster.nodes).map(|node| node.name.clone()).collect(),
        attach: attachment(&pins, Side::Overlay, DEVICE)
            .ok()
            .and_then(|found| found.mode)
            .map(AttachMode::label),
        tunnel_port: facts.tunnel_port,
        device_port: facts.device_port,
        routing: clustered.map(|memory| memory.cluster.routing_of(&memory.node).label()),
        encapsulation: clustered.map(|memory| memory.cluster.encapsulation_of(&memory.node).label()),
        programs: programs(&facts),
        interfaces: Owners::read(paths).interfaces().count(),
        pods: datapath.pods()?.entries()?.len(),
        flows: datapath.flows()?.entries()?.len(),
        flows_capacity: datapath.flows()?.capacity()?,
        warnings,
        nft: counters.unwrap_or_default().into_iter().map(|(name, value)| (name, tally(value))).collect(),
        hooks: hooks(&datapath)?,
        node: Some(facts.node),
        addresses: facts.addresses,
        blocks: facts.blocks,
        subnets: facts.own.into_iter().map(|pool| pool.subnets).collect(),
        pod_mtu: Some(facts.pod_mtu),
        uplinks: facts.uplinks,
    })
}

/// What is on the devices beside ours; one that is gone is warned about elsewhere.
fn programs(facts: &NodeFacts) -> Vec<Programs> {
    let overlay = facts.tunnel_port.map(|_| DEVICE);
    let devices = overlay.into_iter().chain(facts.uplinks.iter().map(String::as_str));
    let names = |members: &[Member]| members.iter().map(|member| member.name.clone()).collect();
    let of = |interface: &str| {
        let both = chains(interface).map_or_else(|_| Vec::new(), Vec::from);
        let one = |chain: Chain| Programs {
            interface: interface.to_owned(),
            direction: chain.direction,
            ours: chain.ours(),
            before: names(chain.before()),
            after: names(chain.after()),
        };
        both.into_iter().map(one).collect::<Vec<_>>()
    };
    devices.flat_map(of).collect()
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
        println!("flows      {} of {}", status.flows, status.flows_capacity);
        match (status.attach, status.tunnel_port) {
            (Some(attach), Some(port)) => println!("tunnel     udp port {port}, {attach}"),
            _ => println!("tunnel     none"),
        }
        if let (Some(wire), Some(own)) =
            (status.tunnel_port, status.device_port.filter(|own| Some(*own) != status.tunnel_port))
        {
            println!(
                "tunnel     port {wire} is somebody else's here: the device has {own}, translated on the way"
            );
        }
        if let (Some(routing), Some(encapsulation)) = (status.routing, status.encapsulation) {
            println!("paths      routing {routing}, encapsulation {encapsulation}");
        }
        println!(
            "uplinks    {}",
            if status.uplinks.is_empty() { "none".into() } else { status.uplinks.join(" ") }
        );
        status.programs.iter().for_each(print_programs);
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

/// Only where others are there too.
fn print_programs(programs: &Programs) {
    let Programs { interface, direction, before, after, .. } = programs;
    if !before.is_empty() {
        println!("programs   {interface} {direction}: before ours: {}", before.join(", "));
    }
    if !after.is_empty() {
        let names = after.join(", ");
        println!(
            "programs   {interface} {direction}: after ours: {names}; sees only what ours pass on to the stack"
        );
    }
}

fn joined<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(" ")
}
