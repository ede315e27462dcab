//! Processes, found by their network namespace.

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

/// Time that a process may take to end after SIGKILL.
const LEAVE: Duration = Duration::from_secs(5);

/// A namespace by the device and inode of its file.
type Identity = (u64, u64);

fn identity(path: impl AsRef<Path>) -> Option<Identity> {
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Kills every process whose main thread is in one of the namespaces at `paths`, and waits until each has ended. The
/// caller's own namespace is never touched.
///
/// # Errors
/// A process does not end, or others keep starting.
pub fn kill_all_inside(paths: &[PathBuf]) -> anyhow::Result<()> {
    let mut namespaces: BTreeSet<Identity> = paths.iter().filter_map(identity).collect();
    if let Some(own) = identity("/proc/self/ns/net") {
        namespaces.remove(&own);
    }
    // A process may start another during the search; each round finds those that the last one missed.
    for _ in 0..5 {
        let found = inside(&namespaces)?;
        if found.is_empty() {
            return Ok(());
        }
        found.iter().try_for_each(kill)?;
    }
    anyhow::bail!("processes keep starting inside the namespaces")
}

fn inside(namespaces: &BTreeSet<Identity>) -> anyhow::Result<Vec<OwnedFd>> {
    let own = std::process::id().cast_signed();
    let numbers = fs::read_dir("/proc").context("read /proc")?;
    let pids = numbers.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    Ok(pids.filter(|pid| *pid != own).filter_map(|pid| open_inside(pid, namespaces)).collect())
}

/// A handle on `pid` if it is in one of the namespaces. The namespace is read after the handle is open, so both are
/// of the same process.
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
        result => result.context("kill a process inside the namespaces")?,
    }
    let timeout = Timespec::try_from(LEAVE).context("time limit")?;
    poll(&mut [PollFd::new(handle, PollFlags::IN)], Some(&timeout)).context("wait for a killed process")?;
    Ok(())
}
