use std::process::ExitCode;

use naru_node::paths::Paths;

use crate::args::OutputArgs;

/// Not yet there.
pub fn run(_paths: &Paths, _args: &OutputArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("status: under construction")
}
