//! The memory of a node with many pods: the maps in the kernel, and the agent.

use std::{
    fs,
    os::fd::{AsFd, AsRawFd},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::Context;
use aya::maps::MapData;
use naru_abi::maps;
use naru_bpf::Pins;
use naru_sandbox::{netns, node};

use crate::{
    binaries::Binaries,
    figure::{Figure, Group},
    gates,
    plugins::{Candidate, Kind},
    progress::Progress,
    site::Site,
};

/// Time for the agent's first pass.
const SETTLE: Duration = Duration::from_secs(2);

/// An agent that ends with its value.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Measures a node with [`gates::PODS`] pods.
///
/// # Errors
/// A pod cannot be attached, the agent does not run, or the bench is interrupted.
pub fn measure(site: &Site, binaries: &Binaries, progress: &mut Progress) -> anyhow::Result<Vec<Figure>> {
    progress.begin("memory", gates::PODS + 1);
    let candidate = Candidate::prepare(site, binaries, "memory", Kind::Naru)?;
    for number in 0..gates::PODS {
        let pod = candidate.sandbox(number)?;
        candidate.call("ADD", &pod)?;
        progress.step()?;
    }
    let (root, environment) = candidate.files();
    let log = fs::File::create(root.join("agent.log")).context("create agent.log")?;
    let mut command = Command::new(&binaries.naru);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command.arg("agent").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let agent = netns::inside(candidate.node(), || Ok(Agent(command.spawn().context("run naru agent")?)))?;
    thread::sleep(SETTLE);
    let (resident, peak) = (held_by(agent.0.id(), "VmRSS:")?, held_by(agent.0.id(), "VmHWM:")?);
    let maps = all_maps(&node::paths(&root).pins())?;
    progress.step()?;
    let pods = gates::PODS;
    let figure = |name, value: u64, limit| {
        let figure = Figure::new(Group::Memory, format!("{name}, {pods} pods"), "bytes", vec![value as f64]);
        figure.map(|figure| figure.limited(Some(limit)))
    };
    let figures = [
        figure("maps", maps, gates::MAPS),
        figure("agent, resident", resident, gates::AGENT),
        figure("agent, at the peak", peak, gates::AGENT),
    ];
    Ok(figures.into_iter().flatten().collect())
}

/// Bytes of a process that the line `key` of its status tells.
fn held_by(process: u32, key: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).context("the agent is gone")?;
    let kilobytes = number_after(&status, key).context("the agent has ended")?;
    Ok(kilobytes * 1024)
}

/// Bytes that the kernel holds for all pinned maps.
fn all_maps(pins: &Pins) -> anyhow::Result<u64> {
    let all = maps::ALL.iter().chain(&maps::OF_POLICIES).filter(|name| pins.map(name).exists());
    all.map(|name| held(&pins.map(name)).with_context(|| format!("map {name}"))).sum()
}

fn held(pin: &Path) -> anyhow::Result<u64> {
    let map = MapData::from_pin(pin)?;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd()))?;
    number_after(&info, "memlock:").context("the kernel tells no size")
}

fn number_after(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_key() {
        assert_eq!(number_after("Name:\tnaru\nVmRSS:\t   11264 kB\n", "VmRSS:"), Some(11264));
        assert_eq!(number_after("memlock:\t8192\n", "VmRSS:"), None);
    }
}
