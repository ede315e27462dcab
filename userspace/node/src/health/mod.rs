//! What is wrong with a running node, in words: looked at, never changed.

use std::{net::IpAddr, path::PathBuf};

use crate::{
    datapath::{Pins, Side, attachment, chains, has_strays, pod_filters},
    host::forward,
    init::{self, DEVICE, InitError, Memory, NodeFacts, Survey},
    links::Links,
    paths::Paths,
    store::NodeStore,
};

/// Everything that is not as it should be; empty on a healthy node.
///
/// # Errors
/// The machine cannot be looked at.
pub fn warnings(paths: &Paths, memory: &Memory) -> Result<Vec<String>, InitError> {
    let links = Links::open()?;
    let survey = Survey::take(&links, memory)?;
    let pins = Pins::new(paths);
    let mut warnings: Vec<String> =
        init::overlaps(memory, &survey, |_| true).iter().map(ToString::to_string).collect();
    warnings.extend(pins.first_missing().map(|pin| format!("{}: not pinned", pin.display())));
    warnings.extend(own_addresses(memory, &survey));
    warnings.extend(unreachable_nodes(memory, &survey));
    warnings.extend(overlay(&links, &pins, memory)?);
    warnings.extend(uplinks(paths, &pins)?);
    warnings.extend(pods(&links, &pins)?);
    warnings.extend(runtime(paths, memory));
    warnings.extend(legacy_rules()?);
    warnings.extend(lost_journals(paths));
    Ok(warnings)
}

/// Damaged stores of the node's identity and journal that were replaced by new ones, until somebody removes them.
#[must_use]
pub fn lost_journals(paths: &Paths) -> Vec<String> {
    let copies = NodeStore::damaged_copies(&paths.node_store());
    let text = |copy: PathBuf| {
        let copy = copy.display();
        format!(
            "{copy}: was damaged and replaced: the node has a new uid, and uninstall cannot restore what the machine \
             was before the first init; remove the file when that is seen to"
        )
    };
    copies.into_iter().map(text).collect()
}

/// Addresses that the cluster says are this node's, but the machine does not have.
fn own_addresses(memory: &Memory, survey: &Survey) -> Vec<String> {
    let Some(own) = memory.cluster.node(&memory.node) else { return Vec::new() };
    let missing = |address: &&IpAddr| !survey.addresses.contains(address);
    own.addresses
        .iter()
        .filter(missing)
        .map(|address| format!("{address}: not an address of this machine"))
        .collect()
}

fn unreachable_nodes(memory: &Memory, survey: &Survey) -> Vec<String> {
    let remotes = memory.cluster.remotes(&memory.node);
    let lost = remotes.filter(|node| node.underlay().is_some_and(|end| !survey.paths.contains_key(&end)));
    lost.map(|node| format!("node {}: no route to its first address", node.name)).collect()
}

fn overlay(links: &Links, pins: &Pins, memory: &Memory) -> Result<Option<String>, InitError> {
    if !memory.is_clustered() {
        return Ok(None);
    }
    let Some(link) = links.link(DEVICE)? else {
        return Ok(Some(format!("{DEVICE}: the tunnel device is gone")));
    };
    if !link.up {
        return Ok(Some(format!("{DEVICE}: down")));
    }
    let attached = attachment(pins, Side::Overlay, DEVICE).is_ok_and(|attachment| attachment.is_complete());
    Ok((!attached).then(|| format!("{DEVICE}: programs are not attached")))
}

/// Uplinks without our programs, or with more than one in a direction.
fn uplinks(paths: &Paths, pins: &Pins) -> Result<Vec<String>, InitError> {
    let mut warnings = Vec::new();
    let Some(facts) = NodeFacts::load(paths)? else { return Ok(warnings) };
    for name in facts.uplinks {
        if !attachment(pins, Side::of_uplink(facts.sends_around), &name)
            .is_ok_and(|found| found.is_complete())
        {
            warnings.push(format!("{name}: programs are not attached"));
        }
        for chain in chains(&name).into_iter().flatten().filter(|chain| chain.ours() > 1) {
            warnings.push(format!("{name}: {} programs of ours at {}", chain.ours(), chain.direction));
        }
    }
    Ok(warnings)
}

/// Pods' interfaces without our filters, or with more of ours.
fn pods(links: &Links, pins: &Pins) -> Result<Vec<String>, InitError> {
    let wrong = |name: &str| {
        if !pod_filters(pins, name).is_ok_and(|filters| filters.is_complete()) {
            return Some("programs are not attached");
        }
        has_strays(name).is_ok_and(|has| has).then_some("more programs of ours than should be")
    };
    let veths = links.host_veths()?;
    Ok(veths.iter().filter_map(|veth| Some(format!("{}: {}", veth.name, wrong(&veth.name)?))).collect())
}

/// Rules of others that nothing on this machine can read.
fn legacy_rules() -> Result<Vec<String>, InitError> {
    let text = |tool| {
        format!(
            "{tool}: not installed, but its tables are in use: whether they drop pods' packets is not known"
        )
    };
    Ok(forward::unreadable()?.into_iter().map(text).collect())
}

/// What the container runtime will not find.
fn runtime(paths: &Paths, memory: &Memory) -> Vec<String> {
    let mut warnings = Vec::new();
    if memory.conflist && paths.cni_conf.is_dir() {
        if !paths.conflist().exists() {
            warnings.push(format!("{}: not there", paths.conflist().display()));
        }
        let plugin = paths.cni_bin.join("naru-cni");
        if !plugin.exists() {
            warnings.push(format!("{}: not there", plugin.display()));
        }
    }
    warnings
}
