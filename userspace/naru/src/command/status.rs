use std::{
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use naru_bpf::Datapath;
use naru_node::paths::Paths;
use naru_view::{AgentReport, PolicyNote, Programs, Status};
use serde::Serialize;

use super::stats::hook_table;
use crate::report::{HookRow, OutputArgs, hooks, print_json};

/// Shape of `naru status --json`: the node's fields, and these beside them.
#[derive(Serialize)]
struct Report {
    /// The node's status, with `findings`.
    #[serde(flatten)]
    status: Status,
    /// The findings in words.
    warnings: Vec<String>,
    /// Packets by hook and outcome.
    hooks: Vec<HookRow>,
}

/// Prints what this node is. Exit status 1 when it is not initialised.
pub fn run(paths: &Paths, args: &OutputArgs) -> anyhow::Result<ExitCode> {
    let status = Status::read(paths)?;
    let hooks = if status.initialised { hooks(&Datapath::open(&paths.pins())?)? } else { Vec::new() };
    let warnings = status.findings.iter().map(ToString::to_string).collect();
    let report = Report { status, warnings, hooks };
    if args.json {
        print_json(&report)?;
    } else {
        print(&report);
    }
    Ok(if report.status.initialised { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(report: &Report) {
    let status = &report.status;
    if let (Some(node), Some(mtu)) = (&status.node, status.pod_mtu) {
        outln!("node       {node} ({})", joined(&status.addresses));
        outln!("blocks     {}", joined(status.blocks.iter().chain(status.subnets.iter().flatten())));
        outln!("cluster    {}", if status.nodes.is_empty() { "none".into() } else { status.nodes.join(" ") });
        print_agent(status.agent.as_ref());
        status.policies.iter().for_each(print_policies);
        outln!("pods       {} interfaces, {} addresses, mtu {mtu}", status.interfaces, status.pods);
        let by_pair = if status.flow_pairs == 0 {
            String::new()
        } else {
            format!(", {} pairs of hosts", status.flow_pairs)
        };
        outln!("flows      {} of {}{by_pair}", status.flows, status.flows_capacity);
        match (status.attach, status.tunnel_port) {
            (Some(attach), Some(port)) => outln!("tunnel     udp port {port}, {attach}"),
            _ => outln!("tunnel     none"),
        }
        if let (Some(wire), Some(own)) =
            (status.tunnel_port, status.device_port.filter(|own| Some(*own) != status.tunnel_port))
        {
            outln!(
                "tunnel     udp port {wire} is taken on this machine: the device has {own}, which nftables translates"
            );
        }
        if let (Some(routing), Some(encapsulation)) = (status.routing, status.encapsulation) {
            outln!("paths      routing {routing}, encapsulation {encapsulation}");
        }
        outln!(
            "uplinks    {}",
            if status.uplinks.is_empty() { "none".into() } else { status.uplinks.join(" ") }
        );
        status.programs.iter().for_each(print_programs);
        for (name, amount) in &status.nft {
            outln!("nftables   {name}: {} packets, {} bytes", amount.packets, amount.bytes);
        }
    }
    for finding in &status.findings {
        outln!("warning    {finding}");
        outln!("           {}: {}", finding.code, finding.remedy);
    }
    if !report.hooks.is_empty() {
        out!("\n{}", hook_table(&report.hooks));
    }
}

/// The source of what is known, and its age.
fn print_agent(agent: Option<&AgentReport>) {
    let Some(agent) = agent else {
        outln!("source     no agent runs: the cluster is as it was accepted last");
        return;
    };
    let age = agent.age().map_or_else(|| "not heard yet".to_owned(), |age| format!("heard {age} s ago"));
    let revision = agent.revision.as_ref().map_or_else(String::new, |revision| format!(", {revision}"));
    outln!("source     {}, {age}{revision}", agent.source);
    for told in agent.complaint.iter().chain(&agent.left_out) {
        outln!("           {told}");
    }
    if let Some(services) = &agent.services {
        let age =
            services.age().map_or_else(|| "not heard yet".to_owned(), |age| format!("heard {age} s ago"));
        let mode = if services.mode == "stack" { ", left to the stack" } else { "" };
        outln!("services   {} known, {age}{mode}", services.known);
        services.complaint.iter().for_each(|told| outln!("           {told}"));
    }
    if let Some(policies) = &agent.policies {
        let age =
            policies.age().map_or_else(|| "not heard yet".to_owned(), |age| format!("heard {age} s ago"));
        let mode = match (policies.mode.as_str(), policies.own_node_egress.as_str()) {
            ("off", _) => ", not enforced",
            (_, "pass") => ", egress to the pod's own node passes",
            _ => "",
        };
        outln!("policies   {} known, {age}{mode}", policies.known);
        for told in policies.complaint.iter().chain(&policies.left_out) {
            outln!("           {told}");
        }
    }
}

/// Policies as they are in force, with or without an agent.
fn print_policies(note: &PolicyNote) {
    let since =
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().saturating_sub(note.since);
    let isolated = note.pods.iter().filter(|pod| pod.ingress || pod.egress).count();
    outln!(
        "policies   {} in force, {isolated} pods isolated, since {since} s, from {}",
        note.policies.len(),
        note.source
    );
}

/// Only where others are there too.
fn print_programs(programs: &Programs) {
    let Programs { interface, direction, before, after, .. } = programs;
    if !before.is_empty() {
        outln!("programs   {interface} {direction}: before ours: {}", before.join(", "));
    }
    if !after.is_empty() {
        let names = after.join(", ");
        outln!(
            "programs   {interface} {direction}: after ours: {names}; sees only what ours pass on to the stack"
        );
    }
}

fn joined<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(" ")
}
