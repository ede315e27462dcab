//! Processes of a lab: agents by their pid file, anything else by the namespace it runs in.

use std::{
    collections::BTreeSet,
    fs,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

/// How long a process may take to leave after SIGKILL.
const LEAVE: Duration = Duration::from_secs(5);

/// An agent's pid file: its process and when that started, so that a reused number is not taken for it.
pub fn pid_file(node_root: &Path) -> PathBuf {
    node_root.join("agent.pid")
}

/// Remembers the process `pid` as the agent of the node below `node_root`.
pub fn remember_agent(node_root: &Path, pid: u32) -> anyhow::Result<()> {
    let started = start_time(pid.cast_signed()).with_context(|| format!("process {pid}: not running"))?;
    let path = pid_file(node_root);
    fs::write(&path, format!("{pid} {started}\n")).with_context(|| format!("write {}", path.display()))
}

/// The running agent of the node below `node_root`: the number is alive and started when the file says.
pub fn agent(node_root: &Path) -> Option<i32> {
    let text = fs::read_to_string(pid_file(node_root)).ok()?;
    let (pid, started) = text.trim().split_once(' ')?;
    let pid = pid.parse().ok()?;
    (start_time(pid)? == started.parse::<u64>().ok()?).then_some(pid)
}

/// Clock ticks after boot at which `pid` started (`/proc/PID/stat`, field 22); `None` for a zombie.
fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let alive = fields.next()? != "Z";
    fields.nth(18)?.parse().ok().filter(|_| alive)
}

/// A namespace by the device and inode of its file.
type Identity = (u64, u64);

fn identity(path: impl AsRef<Path>) -> Option<Identity> {
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Kills every process whose main thread is in one of the namespaces at `paths`, and waits for each to end.
/// The caller's own namespace is never among them.
pub fn kill_all_inside(paths: &[PathBuf]) -> anyhow::Result<()> {
    let mut namespaces: BTreeSet<Identity> = paths.iter().filter_map(identity).collect();
    if let Some(own) = identity("/proc/self/ns/net") {
        namespaces.remove(&own);
    }
    // A process may start another while it is being looked for; each round finds what the last one missed.
    for _ in 0..5 {
        let found = inside(&namespaces)?;
        if found.is_empty() {
            return Ok(());
        }
        found.iter().try_for_each(kill)?;
    }
    anyhow::bail!("processes keep starting inside the lab's namespaces")
}

fn inside(namespaces: &BTreeSet<Identity>) -> anyhow::Result<Vec<OwnedFd>> {
    let own = std::process::id().cast_signed();
    let numbers = fs::read_dir("/proc").context("read /proc")?;
    let pids = numbers.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    Ok(pids.filter(|pid| *pid != own).filter_map(|pid| open_inside(pid, namespaces)).collect())
}

/// A handle on `pid` if it is in one of the namespaces; looked at after the handle is open, so it is the same process.
fn open_inside(pid: i32, namespaces: &BTreeSet<Identity>) -> Option<OwnedFd> {
    let is_inside =
        || identity(format!("/proc/{pid}/ns/net")).is_some_and(|found| namespaces.contains(&found));
    if !is_inside() {
        return None;
    }
    let handle = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    is_inside().then_some(handle)
}

fn kill(handle: &OwnedFd) -> anyhow::Result<()> {
    match pidfd_send_signal(handle, Signal::KILL) {
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        result => result.context("kill a process inside the lab's namespaces")?,
    }
    let timeout = Timespec::try_from(LEAVE).context("time limit")?;
    poll(&mut [PollFd::new(handle, PollFlags::IN)], Some(&timeout)).context("wait for a killed process")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_known_by_number_and_start() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(agent(directory.path()), None);
        remember_agent(directory.path(), std::process::id()).unwrap();
        assert_eq!(agent(directory.path()), Some(std::process::id().cast_signed()));
        fs::write(pid_file(directory.path()), format!("{} 1\n", std::process::id())).unwrap();
        assert_eq!(agent(directory.path()), None);
    }
}
