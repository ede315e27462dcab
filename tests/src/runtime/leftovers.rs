//! Leftovers of a runtime that was killed: processes, mounts, cgroups.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::{
    mount::{UnmountFlags, unmount},
    process::{Pid, Signal, kill_process},
};

use crate::tool;

/// Kills every process that names a file below `directory` in its command line, and the children of each: the
/// runtime's shims and monitors, and with them the containers. `directory` belongs to this test alone.
pub fn kill_processes(directory: &Path) {
    let found = processes(directory);
    let children = found.iter().flat_map(|pid| children(*pid));
    let all: Vec<i32> = children.chain(found.iter().copied()).collect();
    for pid in all.iter().filter_map(|pid| Pid::from_raw(*pid)) {
        let _ = kill_process(pid, Signal::KILL);
    }
    tool::holds_within(Duration::from_secs(5), || all.iter().all(|pid| !runs(*pid)));
}

/// Processes other than this one whose command line has `directory` in it.
fn processes(directory: &Path) -> Vec<i32> {
    let needle = format!("{}/", directory.display());
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let own = std::process::id().cast_signed();
    pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        *pid != own && String::from_utf8_lossy(&line).contains(&needle)
    })
    .collect()
}

/// Processes that `pid` started.
pub fn children(pid: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// Returns true if the process exists and is not a zombie.
fn runs(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

/// Unmounts everything below `directory`.
pub fn unmount_all(directory: &Path) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().rev().filter_map(|line| line.split(' ').nth(4));
    for point in points.filter(|point| Path::new(point).starts_with(directory)) {
        let _ = unmount(point, UnmountFlags::DETACH);
    }
}

/// Unmounts and removes the file of a network namespace.
pub fn remove_netns(path: &Path) {
    let _ = unmount(path, UnmountFlags::DETACH);
    let _ = fs::remove_file(path);
}

/// Removes the cgroup `name` and those in it, in every hierarchy.
pub fn remove_cgroups(name: &str) {
    let root = PathBuf::from("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(&root).into_iter().flatten().flatten().map(|entry| entry.path());
    for hierarchy in hierarchies.chain([root.clone()]) {
        remove_cgroup(&hierarchy.join(name));
    }
}

fn remove_cgroup(path: &Path) {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    for inner in entries.map(|entry| entry.path()).filter(|inner| inner.is_dir()) {
        remove_cgroup(&inner);
    }
    // Its processes may be ending just now.
    for _ in 0..50 {
        if !path.exists() || fs::remove_dir(path).is_ok() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
}
