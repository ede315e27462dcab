//! A cluster of network namespaces on one machine, with the same binaries.

use std::process::ExitCode;

/// Options of `lab`; the subcommands are to come here.
#[derive(clap::Args, Debug)]
pub struct LabArgs {}

/// Runs one `lab` subcommand.
pub fn run(_args: LabArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("lab: under construction")
}
