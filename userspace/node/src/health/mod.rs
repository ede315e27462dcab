//! What is wrong with a running node, in words: looked at, never changed.

use crate::machine::MARKS;
use std::{net::IpAddr, path::PathBuf};

use naru_netlink::links::Links;
use naru_store::NodeStore;

use crate::{
    host::forward,
    machine::{self, MachineError, NodeFacts, Settings, Survey, overlaps},
    paths::Paths,
    readiness, sync,
};
use naru_bpf::{Pins, Pods, chains, has_strays, pod_filters};

/// Pods whose routes are asked for.
const LOOKED_UP: usize = 256;

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
    warnings.extend(pins.first_missing().map(|pin| format!("{}: not pinned", pin.display())));
    warnings.extend(own_addresses(settings, &survey));
    warnings.extend(unreachable_nodes(settings, &survey));
    if let Some(facts) = machine::current(paths)? {
        warnings.extend(readiness::faults(paths, &facts)?);
    }
    warnings.extend(sync::differences(&links, &pins, settings, &survey)?);
    warnings.extend(elsewhere(&links, &pins)?);
    warnings.extend(uplinks(paths)?);
    warnings.extend(pods(&links, &pins)?);
    warnings.extend(runtime(paths, settings));
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

/// Pods that the node's own packets do not reach, because a rule before ours, or a route that is none of ours, leads
/// elsewhere; of many pods the first ones.
fn elsewhere(links: &Links, pins: &Pins) -> Result<Vec<String>, MachineError> {
    let mut warnings = Vec::new();
    for (address, value) in Pods::open(pins)?.entries()?.into_iter().take(LOOKED_UP) {
        let address = IpAddr::from(address);
        // Without any route to it the pod is on its way, or its route is missed above.
        let Ok(path) = links.path_to(address) else { continue };
        if path.index != value.ifindex {
            warnings.push(format!(
                "pod {address}: the node's packets to it leave by {}, not by its interface: see ip route get {address} and \
                 ip rule",
                path.device
            ));
        }
    }
    Ok(warnings)
}

/// Uplinks with more than one of our programs in a direction.
fn uplinks(paths: &Paths) -> Result<Vec<String>, MachineError> {
    let mut warnings = Vec::new();
    let Some(facts) = NodeFacts::load(paths)? else { return Ok(warnings) };
    for name in facts.uplinks {
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

/// Rules of others that nothing on this machine can read.
fn legacy_rules() -> Result<Vec<String>, MachineError> {
    let text = |tool| {
        format!(
            "{tool}: not installed, but its tables are in use: whether they drop pods' packets is not known"
        )
    };
    Ok(forward::unreadable()?.into_iter().map(text).collect())
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
