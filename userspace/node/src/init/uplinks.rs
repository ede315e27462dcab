use std::collections::BTreeSet;

use naru_core::cluster::{Encapsulation, Routing};

use super::{InitError, Memory, NodeFacts, Survey};
use crate::{
    datapath::{Pins, Side, attach, detach, detach_others},
    host::{Journal, sysctl},
};

/// Attaches the programs to the uplinks, where the cluster asks for what they do, and takes them off devices that were
/// uplinks `before` and are none now.
pub(super) fn ensure(
    pins: &Pins,
    memory: &Memory,
    survey: &Survey,
    before: Option<&NodeFacts>,
) -> Result<(), InitError> {
    let wanted = wanted(memory, survey);
    for name in before.iter().flat_map(|facts| &facts.uplinks).filter(|name| !wanted.contains(*name)) {
        detach(pins, Side::Underlay, name)?;
    }
    let indexes: Vec<u32> = match wanted.is_empty() {
        true => Vec::new(),
        false => survey.uplinks.keys().copied().collect(),
    };
    detach_others(pins, Side::Underlay, &indexes)?;
    let side = Side::of_uplink(sends_around(memory));
    wanted.iter().try_for_each(|name| attach(pins, side, name, memory.attach_mode()).map(drop))?;
    Ok(())
}

/// Whether packets of pods may leave for other nodes without the tunnel: because the node may choose so, or because rules
/// lead only those from its own ranges into it, not those from addresses that another IPAM plugin gave.
pub(super) fn sends_around(memory: &Memory) -> bool {
    memory.cluster.routing_of(&memory.node) != Routing::Tunnel || memory.delegated.is_some()
}

/// The uplinks that programs belong on; none where everything takes the tunnel device.
pub(super) fn wanted(memory: &Memory, survey: &Survey) -> BTreeSet<String> {
    if is_needed(memory) { survey.uplinks.values().cloned().collect() } else { BTreeSet::new() }
}

/// Whether anything of this node goes around the tunnel device.
pub(super) fn is_needed(memory: &Memory) -> bool {
    let (cluster, node) = (&memory.cluster, &memory.node);
    memory.is_clustered()
        && (cluster.encapsulation_of(node) == Encapsulation::Auto
            || cluster.routing_of(node) != Routing::Tunnel)
}

/// Loosens the reverse path filter of uplinks by which another node may send what this one answers through the tunnel.
/// One that is off or loose stays as it is.
pub(super) fn loosen(memory: &Memory, survey: &Survey, journal: &mut dyn Journal) -> Result<(), InitError> {
    for name in strict(memory, survey)? {
        sysctl::set(&rp_filter(&name), "2", journal)?;
    }
    Ok(())
}

/// The uplinks that [`loosen`] would change.
pub(super) fn strict(memory: &Memory, survey: &Survey) -> Result<Vec<String>, InitError> {
    if !survey.ways(memory).remotes().any(|remote| remote.may_send_around(&memory.cluster)) {
        return Ok(Vec::new());
    }
    let value = |device: &str| -> Result<u8, InitError> {
        Ok(sysctl::read(&rp_filter(device))?.and_then(|value| value.parse().ok()).unwrap_or(0))
    };
    let all = value("all")?;
    let mut strict = Vec::new();
    for name in survey.uplinks.values() {
        // The larger of the two counts.
        if all.max(value(name)?) == 1 {
            strict.push(name.clone());
        }
    }
    Ok(strict)
}

fn rp_filter(device: &str) -> String {
    format!("net/ipv4/conf/{device}/rp_filter")
}
