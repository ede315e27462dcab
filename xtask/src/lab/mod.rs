//! `cargo xtask lab`: the product on one machine, from nothing to a traffic matrix, with the results on one screen.

mod excerpt;
mod kubernetes;
mod summary;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value;

use self::{excerpt::Excerpt, summary::Summary};
use crate::{
    build,
    run::{self, step},
    setup::Needs,
    workspace::Workspace,
};

/// Options of `lab`.
#[derive(Args)]
pub struct LabArgs {
    /// Leave the lab up
    #[arg(long)]
    keep: bool,
    /// A real Kubernetes of two nodes in place of naru's own lab; --keep leaves it up until Ctrl-C
    #[arg(long, conflicts_with_all = ["nodes", "pods", "maps"])]
    kubernetes: bool,
    /// Nodes
    #[arg(long, default_value_t = 2)]
    nodes: u8,
    /// Pods on each node
    #[arg(long, default_value_t = 2)]
    pods: u16,
    /// Print all maps of all nodes before the summary
    #[arg(long)]
    maps: bool,
}

/// Runs the command.
///
/// # Errors
/// Set-up, build or lab fail, or a cell of the matrix does.
pub fn run(workspace: &Workspace, args: &LabArgs) -> anyhow::Result<()> {
    if !run::is_root()? {
        bail!("the lab needs root: it makes network namespaces and loads eBPF programs");
    }
    if args.kubernetes {
        return kubernetes::run(workspace, args.keep);
    }
    Needs::lab().install()?;
    build::run(workspace)?;
    let lab = Lab { workspace };
    lab.down("lab down (what an earlier one left)")?;
    lab.up(args)?;
    let shown = lab.show(args);
    let down = if args.keep { Ok(()) } else { lab.down("lab down") };
    let (screen, matrix) = shown?;
    println!();
    screen.iter().for_each(|line| println!("{line}"));
    matrix.and(down)
}

/// The lab of `naru lab`'s default name.
struct Lab<'a> {
    workspace: &'a Workspace,
}

/// The directory of that lab.
const ROOT: &str = "/run/naru-lab/naru";
/// The map whose keys naru has names for.
const COUNTERS: &str = "STATS";
/// Maps that say most, in the order of the summary; others follow by name.
const FIRST: [&str; 4] = ["PODS", "ROUTES", "INTERFACES", "CONFIG"];

impl Lab<'_> {
    fn up(&self, args: &LabArgs) -> anyhow::Result<()> {
        let (nodes, pods) = (args.nodes.to_string(), args.pods.to_string());
        // Nodes of a lab are on one link, where the tunnel, which is what most clusters use, would not be seen.
        let up = ["lab", "up", "--routing", "tunnel", "--nodes", &nodes, "--pods", &pods];
        step("lab up", self.naru().args(up))
    }

    fn down(&self, what: &str) -> anyhow::Result<()> {
        step(what, self.naru().args(["lab", "down"]))
    }

    /// Runs the matrix and reads the state of the nodes. Returns the last screen, and the result of the matrix.
    ///
    /// # Errors
    /// Something cannot be read; a failed cell is told by the second value alone.
    fn show(&self, args: &LabArgs) -> anyhow::Result<(Vec<String>, anyhow::Result<()>)> {
        let file = self.workspace.target.join("lab-matrix.json");
        // An earlier run's result must not be reported as this one's.
        let _ = fs::remove_file(&file);
        let ended = step("traffic matrix", self.matrix().arg("--json").arg(&file));
        let matrix = fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let nodes = nodes()?;
        if args.maps {
            nodes.iter().try_for_each(|node| dump(node))?;
        }
        let lab = read(self.naru().args(["lab", "status", "--json"]))?;
        let node = nodes.first().context("the lab has no node")?;
        let hint = if args.keep {
            "the lab stays up: `naru lab status`, `naru lab exec p1-1 -- ping ADDRESS`, `naru lab down`"
        } else {
            "the lab is down again; --keep leaves it up, --maps prints all maps"
        };
        let summary = Summary {
            lab: &lab,
            matrix: matrix.as_ref().unwrap_or(&Value::Null),
            node: &name_of(node),
            maps: &self.excerpts(node)?,
            hint,
        };
        Ok((summary.lines(), ended))
    }

    fn excerpts(&self, node: &Path) -> anyhow::Result<Vec<Excerpt>> {
        let excerpt = |pin: PathBuf| {
            let name = name_of(&pin);
            if name == COUNTERS {
                let naru = self.workspace.dist().join("naru");
                let mut command = self.naru();
                command.args(["lab", "exec", &name_of(node), "--"]).arg(naru).args(["stats", "--json"]);
                return Ok(Excerpt::of_counters(&name, &read(&mut command)?));
            }
            let mut command = Command::new("bpftool");
            command.args(["-j", "map", "dump", "pinned"]).arg(&pin);
            Ok(Excerpt::of_map(&name, &read(&mut command)?))
        };
        pins(node)?.into_iter().map(excerpt).collect()
    }

    fn naru(&self) -> Command {
        Command::new(self.workspace.dist().join("naru"))
    }

    fn matrix(&self) -> Command {
        let mut command = run::cargo();
        command.current_dir(&self.workspace.root).env("NARU_DIST", self.workspace.dist());
        command.args(["run", "--release", "--package", "naru-e2e", "--bin", "matrix", "--"]);
        command
    }
}

/// Prints all maps of the node.
fn dump(node: &Path) -> anyhow::Result<()> {
    for pin in pins(node)? {
        let mut dump = Command::new("bpftool");
        let what = format!("{}: {}", name_of(node), name_of(&pin));
        step(&what, dump.args(["map", "dump", "pinned"]).arg(pin))?;
    }
    Ok(())
}

/// Runs `command` and reads its output as JSON.
fn read(command: &mut Command) -> anyhow::Result<Value> {
    let text = run::output(command)?;
    serde_json::from_str(&text).with_context(|| format!("no JSON: {}", text.trim()))
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Directories of the lab's nodes.
fn nodes() -> anyhow::Result<Vec<PathBuf>> {
    let mut nodes = entries(Path::new(ROOT))?;
    nodes.retain(|path| path.join("bpf").is_dir());
    nodes.sort_by_key(|path| (name_of(path).len(), name_of(path)));
    Ok(nodes)
}

/// The pinned maps of the node, of whatever ABI version it has.
fn pins(node: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let directory = node.join("bpf");
    // The kernel's own files for reading maps and programs lie beside the versions.
    let versions = entries(&directory)?.into_iter().filter(|path| name_of(path).starts_with("abi"));
    let newest = versions.max_by_key(|path| (name_of(path).len(), name_of(path)));
    let newest = newest.with_context(|| format!("no maps below {}", directory.display()))?;
    let mut pins = entries(&newest)?;
    pins.retain(|path| path.is_file());
    pins.sort_by_key(|path| order(&name_of(path)));
    Ok(pins)
}

fn order(map: &str) -> (usize, String) {
    (FIRST.iter().position(|first| *first == map).unwrap_or(FIRST.len()), map.to_owned())
}

fn entries(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    Ok(entries.filter_map(Result::ok).map(|entry| entry.path()).collect())
}
