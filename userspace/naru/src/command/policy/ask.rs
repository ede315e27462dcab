//! Questions about packets: `check`, `who-can`, `explain`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{anyhow, bail};
use clap::Args;
use naru_abi::policy::Direction;
use naru_cluster::policies;
use naru_core::policy::{
    explain::Explanation,
    model::{Cluster, Holder},
    oracle::{Answer, Packet, judge},
    reach,
    review::cuts,
};
use serde::Serialize;

use super::input;
use crate::report::{OutputArgs, print_json};

/// Options of `policy check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// The policies that would come, as YAML or JSON; those of the same name would go.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Flows that pass now: a line each, `SOURCE DESTINATION PORT`, where the port is `80` or `53/UDP`.
    #[arg(long, value_name = "FILE")]
    flows: Option<PathBuf>,
}

/// Options of `policy who-can`.
#[derive(Args, Debug)]
pub struct WhoCanArgs {
    /// The pod.
    #[arg(value_name = "NAMESPACE/NAME")]
    pod: String,
    /// The port: `80`, `53/UDP`.
    #[arg(value_name = "PORT")]
    port: String,
    /// Form of the output.
    #[command(flatten)]
    output: OutputArgs,
}

/// Options of `policy explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// The sender: a pod as `NAMESPACE/NAME`, or an address.
    source: String,
    /// The receiver.
    destination: String,
    /// The destination port: `80`, `53/UDP`.
    port: String,
}

/// `naru policy who-can --json`.
#[derive(Serialize)]
struct Reachable {
    /// True if no policy isolates the pod.
    open: bool,
    /// Pods that may, by their names.
    pods: Vec<String>,
    /// Pods that their own policies hold back.
    held_back: Vec<String>,
    /// Blocks of addresses that may.
    blocks: Vec<String>,
}

/// Says which flows the policies of a file would cut.
pub fn check(cluster: &Cluster, args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let objects = policies::read(&args.file).map_err(|fault| anyhow!("{fault}"))?;
    let count = objects.events.len();
    let flows = args.flows.as_deref().map(input::flows).transpose()?.unwrap_or_default();
    let (cuts, changed) = cuts(cluster, objects.events, &flows);
    for cut in &cuts {
        let answer = Answer::Denied(cut.denial.clone());
        let explanation =
            Explanation { cluster: &changed, pod: &cut.pod, packet: &cut.packet, answer: &answer };
        outln!("{} > {} would be cut: {explanation}", cut.flow.source, cut.flow.destination);
    }
    outln!("{count} objects read, {} of {} flows would be cut", cuts.len(), flows.len());
    Ok(if cuts.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Lists everybody who may reach a port.
pub fn who_can(cluster: &Cluster, args: &WhoCanArgs) -> anyhow::Result<()> {
    let pod = input::pod(cluster, &args.pod)?;
    let reach = reach::who_can(cluster, pod, input::target(&args.port)?);
    let reachable = Reachable {
        open: reach.is_open,
        pods: reach.pods.into_keys().collect(),
        held_back: reach.held_back.into_keys().collect(),
        blocks: reach.blocks.iter().map(ToString::to_string).collect(),
    };
    if args.output.json {
        return print_json(&reachable);
    }
    if reachable.open {
        outln!("no policy isolates the pod: everybody who is not held back");
    }
    for (what, names) in [
        ("pod", reachable.pods),
        ("block", reachable.blocks),
        ("held back by its own policies: pod", reachable.held_back),
    ] {
        for name in names {
            outln!("{what} {name}");
        }
    }
    Ok(())
}

/// Explains the answers of both ends.
pub fn explain(cluster: &Cluster, args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let target = input::target(&args.port)?;
    let (sources, destinations) =
        (input::addresses(cluster, &args.source)?, input::addresses(cluster, &args.destination)?);
    let pairs = sources.iter().flat_map(|from| destinations.iter().map(move |to| (*from, *to)));
    let mut asked = 0;
    let mut passes = true;
    for (from, to) in pairs.filter(|(from, to)| from.is_ipv4() == to.is_ipv4()) {
        for (own, peer, direction) in [(from, to, Direction::Egress), (to, from, Direction::Ingress)] {
            asked += 1;
            let Holder::Pod(pod) = cluster.holder(own) else {
                outln!("{own}: no pod, nothing is judged for {}", direction.label());
                continue;
            };
            let packet = Packet { direction, peer, protocol: target.protocol.number(), port: target.port };
            let answer = judge(cluster, &pod, &packet);
            passes &= answer.passes();
            outln!("{}", Explanation { cluster, pod: &pod, packet: &packet, answer: &answer });
        }
    }
    if asked == 0 {
        bail!("{} and {} have no addresses of one family", args.source, args.destination);
    }
    Ok(if passes { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
