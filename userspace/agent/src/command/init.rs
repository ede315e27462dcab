use naru_node::paths::Paths;

use crate::args::InitArgs;

/// Not yet there.
pub fn run(_paths: &Paths, _args: &InitArgs) -> anyhow::Result<()> {
    anyhow::bail!("init: under construction")
}
