use naru_node::paths::Paths;

use crate::args::AgentArgs;

/// Not yet there.
pub fn run(_paths: &Paths, _args: &AgentArgs) -> anyhow::Result<()> {
    anyhow::bail!("agent: under construction")
}
