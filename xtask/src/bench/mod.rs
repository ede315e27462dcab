//! `cargo xtask bench`: figures against the reference plugins, measured in interleaved rounds.

use std::process::Command;

use anyhow::bail;
use clap::Args;

use crate::{
    build,
    run::{self, step},
    setup::Needs,
    workspace::Workspace,
};

/// Options of `bench`.
#[derive(Args)]
pub struct BenchArgs {
    /// Rounds; medians of per-round ratios are reported
    #[arg(long, default_value_t = 11)]
    rounds: u32,
    /// Print JSON in place of tables
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Set-up, build or a plugin fails.
pub fn run(workspace: &Workspace, args: &BenchArgs) -> anyhow::Result<()> {
    if !run::is_root()? {
        bail!("bench needs root: it makes network namespaces and loads eBPF programs");
    }
    Needs::test().install()?;
    build::run(workspace)?;
    step("latency of ADD and DEL", &mut latency(workspace, args))
}

fn latency(workspace: &Workspace, args: &BenchArgs) -> Command {
    let mut command = run::cargo();
    command.current_dir(&workspace.root).env("NARU_DIST", workspace.dist());
    // What is timed are other programs: that the bench itself is not optimised costs a build less.
    command.args(["bench", "--profile", "dev", "--package", "naru-e2e", "--bench", "latency", "--"]);
    command.arg("--rounds").arg(args.rounds.to_string());
    if args.json {
        command.arg("--json");
    }
    command
}
