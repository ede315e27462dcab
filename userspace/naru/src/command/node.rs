//! `naru node`: the nodes of the cluster.

use std::{net::IpAddr, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Args, Subcommand};
use ipnet::IpNet;
use naru_kubernetes::{Listed, list_nodes};
use naru_node::{machine::Settings, paths::Paths};
use serde::Serialize;

use super::cluster::api;
use crate::report::{OutputArgs, Table, print_json};

/// Options of `node`.
#[derive(Args, Debug)]
pub struct NodeArgs {
    /// The command.
    #[command(subcommand)]
    pub command: NodeCommand,
}

/// A command about nodes.
#[derive(Subcommand, Debug)]
pub enum NodeCommand {
    /// Every node: addresses, blocks, standing. Without --kubeconfig: the nodes that this node accepted last.
    List(ListArgs),
    /// One node. Exit status 1: there is no node of that name.
    Show(ShowArgs),
}

/// Options of `node list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Ask the Kubernetes API with these credentials, instead of this node.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Form of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `node show`.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// The node.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// As for `node list`.
    #[command(flatten)]
    pub list: ListArgs,
}

/// One node. `naru node list --json` is a list of these in the order of their names, `naru node show --json` is one.
#[derive(Serialize)]
struct Row {
    /// Its name.
    name: String,
    /// The identity of its object; null if this node answered.
    uid: Option<String>,
    /// Its addresses, the tunnel's end first.
    addresses: Vec<IpAddr>,
    /// Its blocks.
    blocks: Vec<IpNet>,
    /// `this node`, `node`, or the reason for which it is none of ours.
    standing: String,
}

/// Lists or shows nodes.
pub fn run(paths: &Paths, args: &NodeArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        NodeCommand::List(list) => {
            let rows = rows(paths, list)?;
            if list.output.json {
                print_json(&rows)?;
            } else {
                print(&rows);
            }
            Ok(ExitCode::SUCCESS)
        }
        NodeCommand::Show(show) => {
            let row = rows(paths, &show.list)?.into_iter().find(|row| row.name == show.name);
            let Some(row) = row else {
                eprintln!("naru: node {}: not in the cluster", show.name);
                return Ok(ExitCode::FAILURE);
            };
            if show.list.output.json {
                print_json(&row)?;
            } else {
                print(&[row]);
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn rows(paths: &Paths, args: &ListArgs) -> anyhow::Result<Vec<Row>> {
    let Some(file) = &args.kubeconfig else { return accepted(paths) };
    let api = api(Some(file));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(list_nodes(&api))?.into_iter().map(listed).collect())
}

/// The nodes of the cluster that this node accepted last.
fn accepted(paths: &Paths) -> anyhow::Result<Vec<Row>> {
    let settings = Settings::load(paths)?.context("this machine is not initialised: run naru init")?;
    let own = settings.node;
    let row = |node: naru_core::cluster::NodeSpec| Row {
        standing: if node.name == own { "this node" } else { "node" }.to_owned(),
        name: node.name,
        uid: None,
        addresses: node.addresses,
        blocks: node.blocks,
    };
    Ok(settings.cluster.nodes.into_iter().map(row).collect())
}

fn listed(Listed { name, uid, node }: Listed) -> Row {
    let (addresses, blocks, standing) = match node {
        Ok(node) => (node.addresses, node.blocks, node.standing.label().to_owned()),
        Err(fault) => (Vec::new(), Vec::new(), format!("left out: {fault}")),
    };
    Row { name, uid: Some(uid), addresses, blocks, standing }
}

fn print(rows: &[Row]) {
    let mut table = Table::new(&["NODE", "ADDRESSES", "BLOCKS", "STANDING"]);
    for row in rows {
        let (addresses, blocks) = (joined(&row.addresses), joined(&row.blocks));
        table.row(vec![row.name.clone(), addresses, blocks, row.standing.clone()]);
    }
    print!("{table}");
}

fn joined<T: ToString>(items: &[T]) -> String {
    match items {
        [] => "-".to_owned(),
        items => items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    }
}
