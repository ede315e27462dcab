//! A cgroup of each node, below which its kubelet makes those of pods.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

const ROOT: &str = "/sys/fs/cgroup";
/// Controllers that pods need where there is one hierarchy.
const CONTROLLERS: &str = "+cpu +cpuset +memory +pids";

/// Makes the group in every hierarchy.
///
/// # Errors
/// A directory cannot be made.
pub fn make(name: &str) -> std::io::Result<()> {
    if Path::new(ROOT).join("cgroup.controllers").exists() {
        let _ = fs::write(Path::new(ROOT).join("cgroup.subtree_control"), CONTROLLERS);
    }
    for hierarchy in hierarchies() {
        let group = hierarchy.join(name);
        fs::create_dir_all(&group)?;
        // A cpuset starts empty, and then takes no process.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(value) = fs::read_to_string(hierarchy.join(file)) {
                let _ = fs::write(group.join(file), value);
            }
        }
        let _ = fs::write(group.join("cgroup.subtree_control"), CONTROLLERS);
    }
    Ok(())
}

/// Processes in the group and those below it.
pub fn members(name: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for hierarchy in hierarchies() {
        collect(&hierarchy.join(name), &mut found);
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The most memory that the group of a process had, in bytes.
///
/// # Errors
/// There is no such process, or its group does not count memory.
pub fn memory_peak(pid: i32) -> anyhow::Result<u64> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    // Version 1 has a line for the controller, version 2 one line for all.
    let of = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
        let root = Path::new(ROOT);
        match controllers {
            "" => Some(root.join(path).join("memory.peak")),
            _ if controllers.split(',').any(|one| one == "memory") => {
                Some(root.join("memory").join(path).join("memory.max_usage_in_bytes"))
            }
            _ => None,
        }
    };
    let file =
        groups.lines().filter_map(of).find(|file| file.exists()).context("no group counts its memory")?;
    Ok(fs::read_to_string(file)?.trim().parse()?)
}

fn collect(group: &Path, found: &mut Vec<i32>) {
    let members = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    found.extend(members.lines().filter_map(|line| line.parse::<i32>().ok()));
    let inner = fs::read_dir(group).into_iter().flatten().flatten().map(|entry| entry.path());
    inner.filter(|path| path.is_dir()).for_each(|path| collect(&path, found));
}

/// The roots of all hierarchies: one, or one a controller.
fn hierarchies() -> Vec<PathBuf> {
    if Path::new(ROOT).join("cgroup.controllers").exists() {
        return vec![ROOT.into()];
    }
    let all = fs::read_dir(ROOT).into_iter().flatten().flatten().map(|entry| entry.path());
    all.filter(|path| path.join("cgroup.procs").exists()).collect()
}
