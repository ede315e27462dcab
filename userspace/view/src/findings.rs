use std::{net::IpAddr, path::PathBuf, time::SystemTime};

use naru_bpf::{Pins, Pods, chains, has_strays, pod_filters};
use naru_core::ipam::{Row, State};
use naru_netlink::links::{HostVeth, Links};
use naru_node::{
    host::{self, firewall, forward},
    machine::{self, LastContact, MARKS, MachineError, NodeFacts, Settings, Survey, overlaps},
    paths::Paths,
    readiness, sync,
};
use naru_store::{NodeStore, StateStore};

use crate::{Code, Finding, PolicyNote, shortcut};

/// Pods whose routes are asked for.
const LOOKED_UP: usize = 256;

/// Returns every fault of an initialised node; none on a healthy one.
///
/// # Errors
/// The machine cannot be looked at.
pub fn findings(paths: &Paths, settings: &Settings) -> Result<Vec<Finding>, MachineError> {
    let links = Links::open(MARKS)?;
    let survey = Survey::take(&links, settings)?;
    let pins = paths.pins();
    let clashes = overlaps(&links, settings, |_| true)?;
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
    if let Some(facts) = machine::current(paths)? {
        let faults = readiness::faults(paths, &facts)?;
        findings.extend(faults.iter().map(|text| told(Code::NotAsMade, text)));
    }
    let differences = sync::differences(&links, &pins, settings, &survey)?;
    findings.extend(differences.iter().map(|text| told(Code::StateDiffers, text)));
    findings.extend(elsewhere(&links, &pins)?);
    findings.extend(outside(paths, settings)?);
    findings.extend(out_of_contact(paths, settings)?);
    findings.extend(uplinks(paths)?);
    findings.extend(pods(paths, &links, &pins)?);
    findings.extend(runtime(paths, settings));
    findings.extend(shortcut::findings(paths)?);
    findings.extend(legacy_rules()?);
    findings.extend(lost_identities(paths));
    findings.extend(PolicyNote::load(paths).ok().flatten().iter().flat_map(PolicyNote::findings));
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
        let evidence = "was damaged and replaced: the node has a new uid, and uninstall cannot restore \
                        what the machine was before the first init";
        Finding::new(Code::IdentityLost, copy.display().to_string(), evidence)
    };
    NodeStore::damaged_copies(&paths.node_store()).into_iter().map(finding).collect()
}

/// Addresses that the cluster gives to this node, but the machine does not have.
fn own_addresses(settings: &Settings, survey: &Survey) -> Vec<Finding> {
    let own = settings.cluster.node(&settings.node);
    let addresses = own.iter().flat_map(|own| &own.addresses);
    let missing = addresses.filter(|address| !survey.addresses.contains(address));
    let finding = |address: &IpAddr| {
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

/// Pods that the node's own packets do not reach, because a rule before ours, or a foreign route, leads elsewhere; of
/// many pods only the first ones.
fn elsewhere(links: &Links, pins: &Pins) -> Result<Vec<Finding>, MachineError> {
    let mut findings = Vec::new();
    for (address, value) in Pods::open(pins)?.entries()?.into_iter().take(LOOKED_UP) {
        let address = IpAddr::from(address);
        // Without any route to it the pod is about to start or end, or another check reports its route.
        let Ok(path) = links.path_to(address) else { continue };
        if path.index != value.ifindex {
            let evidence = format!("the node's packets to it leave by {}, not by its interface", path.device);
            findings.push(Finding::new(Code::PodElsewhere, format!("pod {address}"), evidence));
        }
    }
    Ok(findings)
}

/// Pods with addresses outside the present range of a cluster's node: other nodes do not find them.
fn outside(paths: &Paths, settings: &Settings) -> Result<Vec<Finding>, MachineError> {
    if !settings.is_clustered() {
        return Ok(Vec::new());
    }
    let subnets = settings.pool_subnets();
    let is_own = |address: IpAddr| {
        let mut all = settings.blocks().iter().chain(&subnets.all).chain(&subnets.delegated);
        all.any(|range| range.contains(&address))
    };
    let store = StateStore::open(&paths.lease_store(), &host::boot_id()?)?;
    let lost = store.rows()?.into_iter().filter(|row| row.state == State::Assigned && !is_own(row.address));
    let finding = |row: Row| {
        let owner = row.owner.map(|owner| owner.to_string()).unwrap_or_default();
        let name = if row.pod.is_empty() { owner } else { row.pod.to_string() };
        let evidence =
            format!("{} is in no range of this node any more: other nodes do not reach it", row.address);
        Finding::new(Code::PodOutsideRange, format!("pod {name}"), evidence)
    };
    Ok(lost.map(finding).collect())
}

/// The cluster that was not heard of for too long.
fn out_of_contact(paths: &Paths, settings: &Settings) -> Result<Option<Finding>, MachineError> {
    let Some(contact) = LastContact::load(paths)? else { return Ok(None) };
    Ok(contact.overdue(SystemTime::now()).map(|without| {
        let (without, limit) = (without.as_secs(), contact.limit);
        let evidence = format!("not heard of its cluster for {without} s, longer than {limit} s");
        Finding::new(Code::OutOfContact, format!("node {}", settings.node), evidence)
    }))
}

/// Uplinks with more than one of our programs in a direction.
fn uplinks(paths: &Paths) -> Result<Vec<Finding>, MachineError> {
    let mut findings = Vec::new();
    let Some(facts) = NodeFacts::load(paths)? else { return Ok(findings) };
    for name in facts.uplinks {
        for chain in chains(&name).into_iter().flatten().filter(|chain| chain.ours() > 1) {
            let evidence = format!("{} programs of naru at {}", chain.ours(), chain.direction);
            findings.push(Finding::new(Code::ProgramsDoubled, name.clone(), evidence));
        }
    }
    Ok(findings)
}

/// Pods' interfaces without our filters, or with surplus ones; not those on which an ADD or DEL is at work.
fn pods(paths: &Paths, links: &Links, pins: &Pins) -> Result<Vec<Finding>, MachineError> {
    let wrong = |name: &str| {
        if !pod_filters(pins, name).is_ok_and(|filters| filters.is_complete()) {
            return Some(bare(name));
        }
        let evidence = "more programs of naru than there should be";
        has_strays(name).is_ok_and(|has| has).then(|| Finding::new(Code::ProgramsDoubled, name, evidence))
    };
    // Without a store all are looked at.
    let rows = StateStore::open(&paths.lease_store(), &host::boot_id()?).and_then(|store| store.rows()).ok();
    let is_wired = |veth: &HostVeth| {
        rows.as_ref().is_none_or(|rows| rows.iter().any(|row| row.confirmed && row.ifindex == veth.index))
    };
    let veths = links.host_veths()?;
    Ok(veths.iter().filter(|veth| is_wired(veth)).filter_map(|veth| wrong(&veth.name)).collect())
}

fn bare(interface: &str) -> Finding {
    Finding::new(Code::ProgramsMissing, interface, "programs are not attached")
}

/// Rules of others that nothing on this machine can read.
fn legacy_rules() -> Result<Vec<Finding>, MachineError> {
    let evidence = "not installed, but its tables are in use, and may drop pods' packets";
    Ok(forward::unreadable()?
        .into_iter()
        .map(|tool| Finding::new(Code::RulesUnreadable, tool, evidence))
        .collect())
}

/// Makes a finding of a text `subject: evidence` from the node's own check.
fn told(code: Code, text: &str) -> Finding {
    let (subject, evidence) = text.split_once(": ").unwrap_or(("this node", text));
    Finding::new(code, subject, evidence)
}

/// Files that the container runtime will not find.
fn runtime(paths: &Paths, settings: &Settings) -> Vec<Finding> {
    if !settings.conflist || !paths.cni_conf.is_dir() {
        return Vec::new();
    }
    let wanted =
        [(Code::ConflistMissing, paths.conflist()), (Code::PluginMissing, paths.cni_bin.join("naru-cni"))];
    let missing = wanted.into_iter().filter(|(_, file)| !file.is_file());
    missing.map(|(code, file)| Finding::new(code, file.display().to_string(), "not there")).collect()
}
