//! `lab down`: finds everything by name and directory; needs no description, and nothing to be whole.

use std::{
    fs::{self, File},
    path::PathBuf,
};

use anyhow::Context;
use naru_sandbox::{files, netns, process};
use rustix::fs::{FlockOperation, flock};

use crate::{args::NameArgs, layout::LabName};

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
    files::unmount_below(&root)?;
    namespaces.iter().try_for_each(|netns| netns::remove(netns))?;
    files::remove(&root)?;
    // The parent goes with the last lab.
    if let Some(parent) = root.parent() {
        let _ = fs::remove_dir(parent);
    }
    Ok(())
}

fn namespaces(name: &LabName) -> anyhow::Result<Vec<String>> {
    Ok(netns::names()?.into_iter().filter(|netns| name.place(netns).is_some()).collect())
}
