use std::collections::BTreeSet;

use naru_core::cluster::{Encapsulation, Routing};

use crate::host::{Journal, sysctl};
use crate::machine::{MachineError, NodeFacts, Settings, Survey};
use naru_bpf::{Pins, Side, attach, detach, detach_others};

/// Attaches the programs to the uplinks, if the cluster needs them there, and detaches them from devices that were
/// uplinks `before` and are not any more.
pub(crate) fn ensure(
    pins: &Pins,
    settings: &Settings,
    survey: &Survey,
    before: Option<&NodeFacts>,
) -> Result<(), MachineError> {
    let wanted = wanted(pins, settings, survey);
    for name in before.iter().flat_map(|facts| &facts.uplinks).filter(|name| !wanted.contains(*name)) {
        detach(pins, Side::Underlay, name)?;
    }
    let indexes: Vec<u32> = match wanted.is_empty() {
        true => Vec::new(),
        false => survey.uplinks.keys().copied().collect(),
    };
    detach_others(pins, Side::Underlay, &indexes)?;
    let side = Side::of_uplink(sends_around(pins, settings));
    wanted.iter().try_for_each(|name| attach(pins, side, name, settings.attach_mode()).map(drop))?;
    Ok(())
}

/// Returns true if packets of pods that leave without the tunnel matter. They may be for other nodes: because the node
/// may choose so, or because rules lead only packets from its own ranges into the tunnel, not those from addresses that
/// another IPAM plugin gave. Or policies judge them by the destination that the stack has given them.
pub(crate) fn sends_around(pins: &Pins, settings: &Settings) -> bool {
    let may_choose = settings.cluster.routing_of(&settings.node) != Routing::Tunnel;
    may_choose || settings.delegated.is_some() || naru_bpf::has_policy_maps(pins)
}

/// Returns the uplinks on which programs belong; none if all packets take the tunnel device and none is judged.
pub(crate) fn wanted(pins: &Pins, settings: &Settings, survey: &Survey) -> BTreeSet<String> {
    let is_any = is_needed(settings) || naru_bpf::has_policy_maps(pins);
    if is_any { survey.uplinks.values().cloned().collect() } else { BTreeSet::new() }
}

/// Returns true if anything of this node goes around the tunnel device.
pub(crate) fn is_needed(settings: &Settings) -> bool {
    let (cluster, node) = (&settings.cluster, &settings.node);
    settings.is_clustered()
        && (cluster.encapsulation_of(node) == Encapsulation::Auto
            || cluster.routing_of(node) != Routing::Tunnel)
}

/// Loosens the reverse path filter of uplinks by which another node may send packets that this one answers through the
/// tunnel. A filter that is off or loose stays as it is.
pub(crate) fn loosen(
    settings: &Settings,
    survey: &Survey,
    journal: &mut dyn Journal,
) -> Result<(), MachineError> {
    for name in strict(settings, survey)? {
        sysctl::set(&rp_filter(&name), "2", journal)?;
    }
    Ok(())
}

/// Returns the uplinks, by index, to which [`loosen`] applies.
pub(crate) fn loose(settings: &Settings, survey: &Survey) -> Vec<u32> {
    let needs = |remote: naru_core::desired::Remote<'_>| remote.may_send_around(&settings.cluster);
    match survey.ways(settings).remotes().any(needs) {
        true => survey.uplinks.keys().copied().collect(),
        false => Vec::new(),
    }
}

/// The uplinks that [`loosen`] would change.
pub(crate) fn strict(settings: &Settings, survey: &Survey) -> Result<Vec<String>, MachineError> {
    if loose(settings, survey).is_empty() {
        return Ok(Vec::new());
    }
    let value = |device: &str| -> Result<u8, MachineError> {
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
