use naru_netlink::links::Links;

use naru_store::NodeStore;

use crate::{
    host::{
        Journal,
        sysctl::{self, prepare_device},
    },
    machine::{DEVICE, MachineError, Settings},
    readiness,
};

/// Returns true if a device, or the default for new ones, does not forward pods' packets, or if the tunnel device,
/// which has the index `tunnel`, has a strict reverse path filter.
pub(crate) fn is_off(links: &Links, settings: &Settings, tunnel: Option<u32>) -> Result<bool, MachineError> {
    let (confs, families) = (links.device_confs()?, settings.families());
    let is_strict = || readiness::strict(&confs, families).any(|index| Some(index) == tunnel);
    Ok(!readiness::not_forwarding(&confs, families).is_empty() || is_strict())
}

/// Switches forwarding on: first for all devices, then for single devices, or the default, that somebody switched off.
pub(crate) fn ensure(
    links: &Links,
    settings: &Settings,
    journal: &mut NodeStore,
) -> Result<(), MachineError> {
    let was_own = journal.journal_get(&sysctl::forwarding_key())?.is_some();
    sysctl::forward_packets(settings.families(), was_own, journal)?;
    let families = settings.families();
    for conf in readiness::not_forwarding(&links.device_confs()?, families) {
        // One that went meanwhile needs nothing.
        if let Some(device) = readiness::name(links, conf.of)? {
            let family = if conf.v4 { "ipv4" } else { "ipv6" };
            switch_on(&device, &format!("net/{family}/conf/{device}/forwarding"), journal)?;
        }
    }
    if settings.is_clustered() && links.link(DEVICE)?.is_some() {
        prepare_device(DEVICE, families)?;
    }
    Ok(())
}

fn switch_on(device: &str, setting: &str, journal: &mut dyn Journal) -> Result<(), MachineError> {
    if sysctl::read(setting)?.is_some() {
        match device.starts_with("naru") {
            // Nobody needs a setting of our own device restored.
            true => sysctl::set_own(setting, "1")?,
            false => drop(sysctl::set(setting, "1", journal)?),
        }
    }
    Ok(())
}
