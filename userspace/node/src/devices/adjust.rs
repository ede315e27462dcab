use naru_bpf::Pins;
use naru_netlink::links::Links;
use naru_store::NodeStore;

use super::{Tunnel, config, facts, forwarding, overlay, uplinks};
use crate::{
    host::sysctl,
    machine::{self, MachineError, NodeFacts, Settings, Survey},
    paths::Paths,
};

/// Adapts to the machine's present uplinks and addresses: the tunnel device with everything that depends on it, the
/// programs' configuration, and the devices to which they are attached.
pub fn readjust(
    paths: &Paths,
    links: &Links,
    settings: &Settings,
    survey: &Survey,
) -> Result<(), MachineError> {
    let pins = paths.pins();
    // A full repetition would be announced, and wake the agent again.
    if !is_sound(links, settings, survey)? {
        overlay::ensure(links, &pins, settings, survey)?;
    }
    let tunnel = Tunnel::of(links, settings, survey)?.map(|tunnel| tunnel.index);
    let is_deaf = settings.families().v6 && sysctl::is_deaf_to_routers()?;
    if is_deaf || forwarding::is_off(links, settings, tunnel)? {
        let mut journal = NodeStore::open(&paths.node_store())?;
        forwarding::ensure(links, settings, &mut journal)?;
        machine::undo::keep(paths, &journal)?;
    }
    config::ensure(links, &pins, settings, survey, tunnel.unwrap_or(0))?;
    adapt(paths, &pins, settings, survey)?;
    publish(paths, links, settings, survey)
}

/// Returns true if the tunnel device is there as it should be, or there is to be none.
fn is_sound(links: &Links, settings: &Settings, survey: &Survey) -> Result<bool, MachineError> {
    match Tunnel::of(links, settings, survey)? {
        Some(tunnel) => Ok(tunnel.fault(links)?.is_none()),
        None => Ok(!settings.is_clustered()),
    }
}

pub(crate) fn adapt(
    paths: &Paths,
    pins: &Pins,
    settings: &Settings,
    survey: &Survey,
) -> Result<(), MachineError> {
    if !uplinks::strict(settings, survey)?.is_empty() {
        let mut journal = NodeStore::open(&paths.node_store())?;
        uplinks::loosen(settings, survey, &mut journal)?;
        machine::undo::keep(paths, &journal)?;
    }
    uplinks::ensure(pins, settings, survey, NodeFacts::load(paths)?.as_ref())
}

pub(crate) fn publish(
    paths: &Paths,
    links: &Links,
    settings: &Settings,
    survey: &Survey,
) -> Result<(), MachineError> {
    let before = NodeFacts::load(paths)?;
    let limited = before.as_ref().map(|facts| facts.limited.clone()).unwrap_or_default();
    let facts = NodeFacts { limited, ..facts(links, &paths.pins(), settings, survey)? };
    if before.as_ref() != Some(&facts) {
        machine::write_json(&paths.node_facts(), &facts)?;
    }
    Ok(())
}
