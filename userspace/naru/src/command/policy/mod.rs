//! `naru policy`: NetworkPolicies, as files or the Kubernetes API tell them (`ask`), and as they are in force on this
//! node (`in_force`).

mod ask;
mod in_force;
mod input;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use naru_abi::policy::Direction;
use naru_core::policy::{
    explain::rule_text,
    model::{Cluster, NetworkPolicy, Pod},
    oracle::isolating,
};
use naru_node::paths::Paths;
use serde::Serialize;

use crate::report::{OutputArgs, Table, print_json};
use input::pod;

/// Options of `policy`.
#[derive(Args, Debug)]
pub struct PolicyArgs {
    /// The objects.
    #[command(flatten)]
    source: SourceArgs,
    /// The command.
    #[command(subcommand)]
    command: PolicyCommand,
}

/// The place that the objects are read from.
#[derive(Args, Debug)]
pub struct SourceArgs {
    /// A file, or a directory of files, with NetworkPolicies, Namespaces and Pods as YAML or JSON, in place of the API.
    #[arg(long, global = true, value_name = "PATH")]
    objects: Option<PathBuf>,
    /// Credentials for the Kubernetes API; without it, and without --objects, those of the pod that this runs in.
    #[arg(long, global = true, env = "KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// A command about policies.
#[derive(Subcommand, Debug)]
enum PolicyCommand {
    /// Every policy: the directions in which it isolates, and how many pods.
    List {
        /// Form of the output.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// The policies that isolate a pod, with their rules.
    Show {
        /// The pod.
        #[arg(value_name = "NAMESPACE/NAME")]
        pod: String,
        /// Form of the output.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Reads policies of a file and says which flows they would cut. Exit status 1: some.
    Check(ask::CheckArgs),
    /// Everybody who may open a connection to a port of a pod.
    WhoCan(ask::WhoCanArgs),
    /// Why a packet passes, or does not. Exit status 1: it does not.
    Explain(ask::ExplainArgs),
    /// Packets of this node's pods, and to them, that did not pass: the peer, the port, the reason, and the policies
    /// that isolate the pod.
    Denials {
        /// Form of the output.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// The rules in force on this node, with the packets that each decided about.
    Hits {
        /// Form of the output.
        #[command(flatten)]
        output: OutputArgs,
    },
}

/// One policy of `naru policy list --json`.
#[derive(Serialize)]
struct Row {
    /// `namespace/name`.
    policy: String,
    /// `ingress`, `egress`.
    directions: Vec<&'static str>,
    /// The number of pods that it isolates.
    pods: usize,
    /// The number of its rules.
    rules: usize,
}

/// One direction of `naru policy show --json`.
#[derive(Serialize)]
struct Side {
    /// `ingress` or `egress`.
    direction: &'static str,
    /// True if a policy isolates the pod: only what a rule allows passes.
    isolated: bool,
    /// The policies that do.
    policies: Vec<String>,
    /// Their rules: policy, place in it from 1, text.
    rules: Vec<(String, usize, String)>,
}

/// Answers a question about policies.
pub fn run(paths: &Paths, args: &PolicyArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        PolicyCommand::Denials { output } => return in_force::denials(paths, *output),
        PolicyCommand::Hits { output } => return in_force::hits(paths, *output),
        _ => {}
    }
    let cluster = input::cluster(&args.source)?;
    match &args.command {
        PolicyCommand::List { output } => list(&cluster, *output)?,
        PolicyCommand::Show { pod: name, output } => show(&cluster, pod(&cluster, name)?, *output)?,
        PolicyCommand::Check(check) => return ask::check(&cluster, check),
        PolicyCommand::WhoCan(who_can) => ask::who_can(&cluster, who_can)?,
        PolicyCommand::Explain(explain) => return ask::explain(&cluster, explain),
        PolicyCommand::Denials { .. } | PolicyCommand::Hits { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn list(cluster: &Cluster, output: OutputArgs) -> anyhow::Result<()> {
    let rows = cluster.policies.values().map(|policy| row(cluster, policy)).collect::<Vec<_>>();
    if output.json {
        return print_json(&rows);
    }
    let mut table = Table::new(&["POLICY", "DIRECTIONS", "PODS", "RULES"]);
    for row in rows {
        let directions = row.directions.join(" ");
        table.row(vec![row.policy, directions, row.pods.to_string(), row.rules.to_string()]);
    }
    out!("{table}");
    Ok(())
}

fn row(cluster: &Cluster, policy: &NetworkPolicy) -> Row {
    let isolates = |direction: &Direction| policy.rules(*direction).is_some();
    let is_subject = |pod: &&std::sync::Arc<Pod>| {
        pod.is_member() && pod.namespace == policy.name.namespace && policy.pods.matches(&pod.labels)
    };
    let directions = Direction::ALL.into_iter().filter(isolates);
    Row {
        policy: policy.name.to_string(),
        rules: Direction::ALL.iter().filter_map(|it| policy.rules(*it)).map(<[_]>::len).sum(),
        directions: directions.map(Direction::label).collect(),
        pods: cluster.pods.values().filter(is_subject).count(),
    }
}

fn side(cluster: &Cluster, pod: &Pod, direction: Direction) -> Side {
    let policies = isolating(cluster, pod, direction).collect::<Vec<_>>();
    let rules = policies.iter().flat_map(|policy| {
        let rules = policy.rules(direction).unwrap_or_default().iter().enumerate();
        rules.map(|(index, rule)| (policy.name.to_string(), index + 1, rule_text(rule)))
    });
    Side {
        direction: direction.label(),
        isolated: !policies.is_empty(),
        rules: rules.collect(),
        policies: policies.iter().map(|policy| policy.name.to_string()).collect(),
    }
}

fn show(cluster: &Cluster, pod: &Pod, output: OutputArgs) -> anyhow::Result<()> {
    let sides = Direction::ALL.map(|direction| side(cluster, pod, direction));
    if output.json {
        return print_json(&sides);
    }
    for side in sides {
        if !side.isolated {
            outln!("{}: no policy isolates the pod, everything passes", side.direction);
            continue;
        }
        outln!("{}: isolated by {}", side.direction, side.policies.join(", "));
        if side.rules.is_empty() {
            outln!("  no rule allows anything");
        }
        for (policy, place, text) in side.rules {
            outln!("  {policy} rule {place}: {text}");
        }
    }
    Ok(())
}
