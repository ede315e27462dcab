//! `lab down`: finds everything by name and directory; needs no description, and nothing to be whole.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::Context;
use rustix::{
    fs::{FlockOperation, flock},
    mount::{UnmountFlags, unmount},
};

use super::{args::NameArgs, layout::LabName, netns, process};

/// Takes the lab down. Succeeds when there is none.
pub fn run(options: &NameArgs) -> anyhow::Result<()> {
    let name = &options.lab;
    let root = name.root();
    // A running `up` finishes first; a dead one holds no lock.
    let lock = File::open(&root).ok();
    if let Some(directory) = &lock {
        flock(directory, FlockOperation::LockExclusive).with_context(|| format!("lab {name}: lock"))?;
    }
    let namespaces = namespaces(name)?;
    let paths: Vec<PathBuf> = namespaces.iter().map(|netns| netns::path(netns)).collect();
    process::kill_all_inside(&paths).with_context(|| format!("lab {name}"))?;
    unmount_below(&root)?;
    namespaces.iter().try_for_each(|netns| netns::remove(netns))?;
    remove_directory(&root)?;
    // The parent goes with the last lab.
    if let Some(parent) = root.parent() {
        let _ = fs::remove_dir(parent);
    }
    Ok(())
}

fn namespaces(name: &LabName) -> anyhow::Result<Vec<String>> {
    Ok(netns::names()?.into_iter().filter(|netns| name.place(netns).is_some()).collect())
}

fn remove_directory(root: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.with_context(|| format!("remove {}", root.display())),
    }
}

/// Unmounts what is mounted below `root`, last mounted first.
fn unmount_below(root: &Path) -> anyhow::Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("read /proc/self/mountinfo")?;
    for point in mount_points(&mounts, root).into_iter().rev() {
        unmount(&point, UnmountFlags::DETACH).with_context(|| format!("unmount {}", point.display()))?;
    }
    Ok(())
}

/// Mount points below `root` in `/proc/PID/mountinfo` (field 5), in the order they were mounted.
fn mount_points(mountinfo: &str, root: &Path) -> Vec<PathBuf> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    points.filter(|point| point.starts_with(root)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_below_the_lab_are_found() {
        let mountinfo = "22 1 0:20 / /run rw - tmpfs tmpfs rw\n\
                         30 22 0:30 / /run/naru-lab/a/n1/bpf rw - bpf bpf rw\n\
                         31 22 0:31 / /run/naru-lab/ab/n1/bpf rw - bpf bpf rw\n";
        assert_eq!(
            mount_points(mountinfo, Path::new("/run/naru-lab/a")),
            [Path::new("/run/naru-lab/a/n1/bpf")]
        );
    }
}
