use naru_node::paths::Paths;

use crate::args::OutputArgs;

/// Not yet there.
pub fn run(_paths: &Paths, _args: &OutputArgs) -> anyhow::Result<()> {
    anyhow::bail!("stats: under construction")
}
