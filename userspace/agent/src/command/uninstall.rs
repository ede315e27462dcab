use naru_node::paths::Paths;

use crate::args::UninstallArgs;

/// Not yet there.
pub fn run(_paths: &Paths, _args: &UninstallArgs) -> anyhow::Result<()> {
    anyhow::bail!("uninstall: under construction")
}
