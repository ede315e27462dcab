use std::path::PathBuf;

use naru_bpf::{Pins, Side, attachment, chains, has_strays, pod_filters};
use naru_netlink::links::Links;
use naru_node::{
    host::firewall,
    machine::{DEVICE, MARKS, MachineError, NodeFacts, Settings, Survey},
    paths::Paths,
};
use naru_store::NodeStore;

use crate::{Code, Finding};

/// Everything on an initialised node that is not as it should be; empty on a healthy one.
///
/// # Errors
/// The machine cannot be looked at.
pub fn findings(paths: &Paths, settings: &Settings) -> Result<Vec<Finding>, MachineError> {
    let links = Links::open(MARKS)?;
    let survey = Survey::take(&links, settings)?;
    let pins = paths.pins();
    let clashes = survey.overlaps(settings, |_| true);
    let mut findings: Vec<Finding> = clashes
        .iter()
        .map(|clash| Finding::new(Code::RangeOverlap, clash.range.to_string(), clash.to_string()))
        .collect();
    findings.extend(
        pins.first_missing()
            .map(|pin| Finding::new(Code::PinMissing, pin.display().to_string(), "not pinned")),
    );
    findings.extend(own_addresses(settings, &survey));
    findings.extend(unreachable_nodes(settings, &survey));
    findings.extend(overlay(&links, &pins, settings)?);
    findings.extend(uplinks(paths, &pins)?);
    findings.extend(pods(&links, &pins)?);
    findings.extend(runtime(paths, settings));
    findings.extend(lost_identities(paths));
    if firewall::counters()?.is_none() {
        let evidence = "the table inet naru is gone: nothing is masqueraded";
        findings.push(Finding::new(Code::FirewallMissing, "nftables", evidence));
    }
    Ok(findings)
}

/// Damaged stores of the node's identity and journal that were replaced by new ones, until somebody removes them.
#[must_use]
pub fn lost_identities(paths: &Paths) -> Vec<Finding> {
    let finding = |copy: PathBuf| {
        let evidence = "was damaged and replaced: the node has a new uid, and uninstall cannot restore what the machine \
                        was before the first init";
        Finding::new(Code::IdentityLost, copy.display().to_string(), evidence)
    };
    NodeStore::damaged_copies(&paths.node_store()).into_iter().map(finding).collect()
}

/// Addresses that the cluster says are this node's, but the machine does not have.
fn own_addresses(settings: &Settings, survey: &Survey) -> Vec<Finding> {
    let own = settings.cluster.node(&settings.node);
    let addresses = own.iter().flat_map(|own| &own.addresses);
    let missing = addresses.filter(|address| !survey.addresses.contains(address));
    let finding = |address: &std::net::IpAddr| {
        Finding::new(Code::NodeAddressMissing, address.to_string(), "not an address of this machine")
    };
    missing.map(finding).collect()
}

fn unreachable_nodes(settings: &Settings, survey: &Survey) -> Vec<Finding> {
    let remotes = settings.cluster.remotes(&settings.node);
    let lost = remotes.filter(|node| node.underlay().is_some_and(|end| !survey.paths.contains_key(&end)));
    lost.map(|node| {
        Finding::new(Code::NodeUnreachable, format!("node {}", node.name), "no route to its first address")
    })
    .collect()
}

fn overlay(links: &Links, pins: &Pins, settings: &Settings) -> Result<Option<Finding>, MachineError> {
    if !settings.is_clustered() {
        return Ok(None);
    }
    let Some(link) = links.link(DEVICE)? else {
        return Ok(Some(Finding::new(Code::TunnelDeviceMissing, DEVICE, "the tunnel device is gone")));
    };
    if !link.up {
        return Ok(Some(Finding::new(Code::TunnelDeviceDown, DEVICE, "down")));
    }
    let attached = attachment(pins, Side::Overlay, DEVICE).is_ok_and(|attachment| attachment.is_complete());
    Ok((!attached).then(|| bare(DEVICE)))
}

/// Uplinks without our programs, or with more than one in a direction.
fn uplinks(paths: &Paths, pins: &Pins) -> Result<Vec<Finding>, MachineError> {
    let mut findings = Vec::new();
    let Some(facts) = NodeFacts::load(paths)? else { return Ok(findings) };
    let side = Side::of_uplink(facts.sends_around);
    for name in facts.uplinks {
        if !attachment(pins, side, &name).is_ok_and(|found| found.is_complete()) {
            findings.push(bare(&name));
        }
        for chain in chains(&name).into_iter().flatten().filter(|chain| chain.ours() > 1) {
            let evidence = format!("{} programs of ours at {}", chain.ours(), chain.direction);
            findings.push(Finding::new(Code::ProgramsDoubled, name.clone(), evidence));
        }
    }
    Ok(findings)
}

/// Pods' interfaces without our filters, or with more of ours.
fn pods(links: &Links, pins: &Pins) -> Result<Vec<Finding>, MachineError> {
    let wrong = |name: &str| {
        if !pod_filters(pins, name).is_ok_and(|filters| filters.is_complete()) {
            return Some(bare(name));
        }
        let evidence = "more programs of ours than should be";
        has_strays(name).is_ok_and(|has| has).then(|| Finding::new(Code::ProgramsDoubled, name, evidence))
    };
    let veths = links.host_veths()?;
    Ok(veths.iter().filter_map(|veth| wrong(&veth.name)).collect())
}

fn bare(interface: &str) -> Finding {
    Finding::new(Code::ProgramsMissing, interface, "programs are not attached")
}

/// What the container runtime will not find.
fn runtime(paths: &Paths, settings: &Settings) -> Vec<Finding> {
    if !settings.conflist || !paths.cni_conf.is_dir() {
        return Vec::new();
    }
    let wanted =
        [(Code::ConflistMissing, paths.conflist()), (Code::PluginMissing, paths.cni_bin.join("naru-cni"))];
    let missing = wanted.into_iter().filter(|(_, file)| !file.exists());
    missing.map(|(code, file)| Finding::new(code, file.display().to_string(), "not there")).collect()
}
