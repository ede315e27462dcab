//! An agent on a node of the bench.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use naru_sandbox::{netns, node};

use super::underlay::Node;
use crate::{binaries::Binaries, site::Site};

/// Time for the agent to read what it is to follow.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts the node's agent, and waits until the node is as it is to be. The agent ends with the site, as every process
/// in its namespaces.
///
/// # Errors
/// The agent ends, or takes too long.
pub fn follow(
    site: &Site,
    binaries: &Binaries,
    node: &Node,
    is_done: impl Fn() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let root = site.directory(&node.name);
    let log = root.join("agent.log");
    let said = fs::File::create(&log).context("create agent.log")?;
    let mut command = Command::new(&binaries.naru);
    command.envs(node::environment(&node.name, &root)).arg("agent");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
    let mut agent = netns::inside(&node.netns, || command.spawn().context("run naru agent"))?;
    let end = Instant::now() + PATIENCE;
    while !is_done()? {
        let told = || fs::read_to_string(&log).unwrap_or_default();
        ensure!(Instant::now() < end, "the agent did not take all of it: {}", told());
        ensure!(agent.try_wait().context("the agent")?.is_none(), "the agent ended: {}", told());
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
