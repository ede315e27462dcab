//! What is wrong with a running node, in words: looked at, never changed.

use crate::machine::MARKS;
use std::{net::IpAddr, path::PathBuf};

use naru_netlink::links::Links;
use naru_store::NodeStore;

use crate::{
    devices::closed_forwarding,
    machine::{DEVICE, MachineError, NodeFacts, Settings, Survey, overlaps},
    paths::Paths,
};
use naru_bpf::{Pins, Side, attachment, chains, has_strays, pod_filters};

/// Everything that is not as it should be; empty on a healthy node.
///
/// # Errors
/// The machine cannot be looked at.
pub fn warnings(paths: &Paths, settings: &Settings) -> Result<Vec<String>, MachineError> {
    let links = Links::open(MARKS)?;
    let survey = Survey::take(&links, settings)?;
    let pins = paths.pins();
    let mut warnings: Vec<String> =
        overlaps(&links, settings, |_| true)?.iter().map(ToString::to_string).collect();
    warnings.extend(closed_forwarding(settings, &survey)?.iter().map(|name| format!("{}: 0", name.replace('/', "."))));
    warnings.extend(pins.first_missing().map(|pin| format!("{}: not pinned", pin.display())));
    warnings.extend(own_addresses(settings, &survey));
    warnings.extend(unreachable_nodes(settings, &survey));
    warnings.extend(overlay(&links, &pins, settings)?);
    warnings.extend(uplinks(paths, &pins)?);
    warnings.extend(pods(&links, &pins)?);
    warnings.extend(runtime(paths, settings));
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
fn own_addresses(settings: &Settings, survey: &Survey) -> Vec<String> {
    let Some(own) = settings.cluster.node(&settings.node) else { return Vec::new() };
    let missing = |address: &&IpAddr| !survey.addresses.contains(address);
    own.addresses
        .iter()
        .filter(missing)
        .map(|address| format!("{address}: not an address of this machine"))
        .collect()
}

fn unreachable_nodes(settings: &Settings, survey: &Survey) -> Vec<String> {
    let remotes = settings.cluster.remotes(&settings.node);
    let lost = remotes.filter(|node| node.underlay().is_some_and(|end| !survey.paths.contains_key(&end)));
    lost.map(|node| format!("node {}: no route to its first address", node.name)).collect()
}

fn overlay(links: &Links, pins: &Pins, settings: &Settings) -> Result<Option<String>, MachineError> {
    if !settings.is_clustered() {
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
fn uplinks(paths: &Paths, pins: &Pins) -> Result<Vec<String>, MachineError> {
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
fn pods(links: &Links, pins: &Pins) -> Result<Vec<String>, MachineError> {
    let wrong = |name: &str| {
        if !pod_filters(pins, name).is_ok_and(|filters| filters.is_complete()) {
            return Some("programs are not attached");
        }
        has_strays(name).is_ok_and(|has| has).then_some("more programs of ours than should be")
    };
    let veths = links.host_veths()?;
    Ok(veths.iter().filter_map(|veth| Some(format!("{}: {}", veth.name, wrong(&veth.name)?))).collect())
}

/// What the container runtime will not find.
fn runtime(paths: &Paths, settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    if settings.conflist && paths.cni_conf.is_dir() {
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
