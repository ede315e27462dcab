//! `cargo xtask bench`: build, then `naru bench`, which measures.

use std::{ffi::OsString, process::Command};

use anyhow::{Context, bail};
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
    /// Options of `naru bench`: see `target/dist/naru bench --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<OsString>,
}

/// Runs the command.
///
/// # Errors
/// Set-up or build fails, something cannot be measured, or a gate is missed.
pub fn run(workspace: &Workspace, args: &BenchArgs) -> anyhow::Result<()> {
    if !run::is_root()? {
        bail!("bench needs root: it makes network namespaces and loads eBPF programs");
    }
    Needs::lab().install()?;
    build::run(workspace)?;
    let directory = std::env::current_dir().context("working directory")?;
    let mut bench = Command::new(workspace.dist().join("naru"));
    step("bench", bench.current_dir(directory).arg("bench").args(&args.options))
}
