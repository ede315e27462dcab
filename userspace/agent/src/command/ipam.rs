use naru_node::paths::Paths;

use crate::args::IpamArgs;

/// Not yet there.
pub fn run(_paths: &Paths, _args: &IpamArgs) -> anyhow::Result<()> {
    anyhow::bail!("ipam: under construction")
}
