//! `cargo xtask lab`: the product on one machine, from nothing to a traffic matrix.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};
use clap::Args;

use crate::{
    build,
    run::{self, say, step},
    setup::Needs,
    workspace::Workspace,
};

/// Options of `lab`.
#[derive(Args)]
pub struct LabArgs {
    /// Leave the lab up
    #[arg(long)]
    keep: bool,
    /// Nodes
    #[arg(long, default_value_t = 2)]
    nodes: u8,
    /// Pods on each node
    #[arg(long, default_value_t = 2)]
    pods: u16,
}

/// Runs the command.
///
/// # Errors
/// Set-up, build or lab fail, or a cell of the matrix does.
pub fn run(workspace: &Workspace, args: &LabArgs) -> anyhow::Result<()> {
    if !run::is_root()? {
        bail!("the lab needs root: it makes network namespaces and loads eBPF programs");
    }
    Needs::test().install()?;
    build::run(workspace)?;
    let lab = Lab { workspace };
    step("lab down (what an earlier one left)", lab.naru().args(["lab", "down"]))?;
    let (nodes, pods) = (args.nodes.to_string(), args.pods.to_string());
    // Nodes of a lab are on one link, where the tunnel, which is what most clusters use, would not be seen.
    let up = ["lab", "up", "--routing", "tunnel", "--nodes", &nodes, "--pods", &pods];
    step("lab up", lab.naru().args(up))?;
    let shown = lab.show();
    if args.keep {
        say("the lab stays up: `naru lab status`, `naru lab exec p1-1 -- ping ADDRESS`, `naru lab down`");
        return shown;
    }
    let down = step("lab down", lab.naru().args(["lab", "down"]));
    shown.and(down)
}

/// The lab of `naru lab`'s default name.
struct Lab<'a> {
    workspace: &'a Workspace,
}

impl Lab<'_> {
    /// Prints what the lab is, what traffic does in it, and what the nodes hold; the matrix' failure last.
    fn show(&self) -> anyhow::Result<()> {
        step("nodes and pods", self.naru().args(["lab", "status"]))?;
        let matrix = step("traffic matrix", &mut self.matrix());
        for node in nodes()? {
            self.show_node(&node)?;
        }
        matrix
    }

    fn show_node(&self, node: &Path) -> anyhow::Result<()> {
        let name = node.file_name().unwrap_or_default().to_string_lossy();
        let directories = ["--run-dir", "--state-dir", "--bpf-dir", "--config-dir"];
        let mut addresses = self.naru();
        addresses.args(["lab", "exec", &name, "--"]).arg(self.workspace.dist().join("naru"));
        for (flag, directory) in directories.iter().zip(["run", "state", "bpf", "config"]) {
            addresses.arg(flag).arg(node.join(directory));
        }
        step(&format!("{name}: addresses"), addresses.args(["ipam", "list"]))?;
        for map in ["PODS", "ROUTES"] {
            let pin = pinned(node, map)?;
            let mut dump = Command::new("bpftool");
            step(&format!("{name}: {map}"), dump.args(["map", "dump", "pinned"]).arg(pin))?;
        }
        Ok(())
    }

    fn naru(&self) -> Command {
        Command::new(self.workspace.dist().join("naru"))
    }

    fn matrix(&self) -> Command {
        let mut command = run::cargo();
        command.current_dir(&self.workspace.root).env("NARU_DIST", self.workspace.dist());
        command.args(["run", "--release", "--package", "naru-e2e", "--bin", "matrix"]);
        command
    }
}

/// Directories of the lab's nodes.
fn nodes() -> anyhow::Result<Vec<PathBuf>> {
    const ROOT: &str = "/run/naru-lab/naru";
    let entries = fs::read_dir(ROOT).context(ROOT)?;
    let mut nodes: Vec<_> =
        entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    nodes.retain(|path| path.join("bpf").is_dir());
    nodes.sort();
    Ok(nodes)
}

/// The pin of `map`, in the directory of whatever ABI version the node has.
fn pinned(node: &Path, map: &str) -> anyhow::Result<PathBuf> {
    let directory = node.join("bpf");
    let versions = fs::read_dir(&directory).with_context(|| directory.display().to_string())?;
    let pins = versions.filter_map(Result::ok).map(|version| version.path().join(map));
    pins.into_iter()
        .find(|pin| pin.exists())
        .with_context(|| format!("no {map} below {}", directory.display()))
}
