use std::collections::BTreeSet;

use naru_core::ids::Label;
use naru_netlink::links::Link;

use super::{Cause, Tools};
use naru_bpf::Pins;

/// Interfaces whose programs were looked at.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reattached {
    /// Those that got their programs again.
    pub interfaces: Vec<String>,
    /// The reasons for which single interfaces could not be restored.
    pub refused: Vec<String>,
}

/// Attaches the programs again to pods' interfaces from which somebody detached them, and detaches other programs of
/// ours there. Filters are checked on the `noted` interfaces, which the kernel announced; tcx on all, as the kernel
/// announces nothing. Interfaces on which a plugin is at work are left to it. `open` is called for the tools only if
/// something may have to be repaired.
///
/// # Errors
/// Nothing can be looked at.
pub fn restore_programs<E: From<Cause>>(
    pins: &Pins,
    noted: &BTreeSet<u32>,
    open: impl FnOnce() -> Result<Tools, E>,
) -> Result<Reattached, E> {
    let mut suspects = noted.clone();
    match naru_bpf::wrong_by_tcx(pins) {
        // For a larger pass.
        Err(error) if error.is_not_installed() => return Ok(Reattached::default()),
        wrong => suspects.extend(wrong.map_err(Cause::from)?),
    }
    if suspects.is_empty() {
        return Ok(Reattached::default());
    }
    let tools = open()?;
    let mut done = Reattached::default();
    for ifindex in suspects {
        match restore(&tools, ifindex) {
            Ok(name) => done.interfaces.extend(name),
            Err(cause) => done.refused.push(cause.to_string()),
        }
    }
    Ok(done)
}

/// Returns the interface's name if it is a pod's, at rest, and lacked a program.
fn restore(tools: &Tools, ifindex: u32) -> Result<Option<String>, Cause> {
    let Some(link) = tools.links.link_at(ifindex)? else { return Ok(None) };
    if !is_wired(tools, &link)? {
        return Ok(None);
    }
    let Some(value) = tools.maps.interfaces.get(ifindex)? else { return Ok(None) };
    let is_put_right = put_right(&tools.maps.pins, &link.name, value.flags)?;
    Ok(is_put_right.then_some(link.name))
}

/// Returns true if the store says that this very veth was wired and not given up since: an ADD under way has yet to
/// confirm, and a DEL removes the interface from the map before it touches the veth.
fn is_wired(tools: &Tools, link: &Link) -> Result<bool, Cause> {
    let Ok(Label { alias, .. }) = link.alias.parse::<Label>() else { return Ok(false) };
    let rows = tools.store.rows()?;
    let generation = alias.generation();
    Ok(rows.iter().any(|row| row.confirmed && row.ifindex == link.index && row.generation == generation))
}

/// Makes a pod's interface have both programs, and no other of ours. Returns true if that changed anything. `flags` are
/// the pod's.
pub(super) fn put_right(pins: &Pins, interface: &str, flags: u32) -> Result<bool, Cause> {
    let is_sound =
        || Ok(naru_bpf::pod_filters(pins, interface)?.is_complete() && !naru_bpf::has_strays(interface)?);
    match is_sound() {
        Ok(true) => return Ok(false),
        // Gone since we looked.
        Err(error) if naru_bpf::Error::is_no_device(&error) => return Ok(false),
        Err(error) => return Err(error.into()),
        Ok(false) => {}
    }
    match naru_bpf::restore_pod(pins, interface, naru_bpf::pod_mode(flags)) {
        Err(error) if error.is_no_device() => Ok(false),
        result => Ok(result.map(|()| true)?),
    }
}
