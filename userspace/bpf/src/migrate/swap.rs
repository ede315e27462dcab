//! Replacement of each program by its successor, wherever it is: behind a pinned link, in a filter, or in a chain
//! without a link. The kernel exchanges them in one step: a packet meets the one program or the other.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::{AsFd, OwnedFd},
};

use aya::programs::TcAttachType::{self, Egress, Ingress};
use naru_abi::{FILTER_HANDLE, FILTER_PRIORITY, programs};
use naru_netlink::{
    FilterMark,
    tc::{self, Attached, Direction},
};

use super::failed;
use crate::{Error, Pins, Result, filters, install::remove, program, sys, tcx};

/// Programs that look up flows, then those that record them.
const SIDES: [(TcAttachType, Direction, [&str; 3]); 2] = [
    (Ingress, Direction::Ingress, [programs::FROM_POD, programs::FROM_OVERLAY, programs::FROM_UNDERLAY]),
    (Egress, Direction::Egress, [programs::TO_POD, programs::TO_OVERLAY, programs::TO_UNDERLAY]),
];

/// Swaps every program of this network namespace: all of one direction, then all of the other.
pub(super) fn all(older: &Pins, pins: &Pins) -> Result<()> {
    let interfaces = interfaces().map_err(|source| Error::interface("interfaces", "list", source))?;
    for (at, direction, names) in SIDES {
        links(older, pins, &names)?;
        let successors = successors(older, pins, &names)?;
        for ifindex in &interfaces {
            filter(*ifindex, direction, &successors)?;
            members(*ifindex, at, &successors)?;
        }
    }
    Ok(())
}

/// New programs, by the number of the old program that each follows.
type Successors = BTreeMap<u32, (&'static str, OwnedFd)>;

fn successors(older: &Pins, pins: &Pins, names: &[&'static str]) -> Result<Successors> {
    let mut all = Successors::new();
    for name in names.iter().filter(|name| older.program(name).exists()) {
        let pin = pins.program(name);
        let fd = sys::open(&pin).map_err(failed(&pin, "open"))?;
        all.insert(program::id(older, name)?, (*name, fd));
    }
    Ok(all)
}

/// The links that the older version pinned, which move to the new directory.
fn links(older: &Pins, pins: &Pins, names: &[&'static str]) -> Result<()> {
    let entries = match fs::read_dir(older.links()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed(&older.links(), "list"))?,
    };
    for pin in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let file = pin.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some((name, _)) = file.rsplit_once('_') else { continue };
        let Some(name) = names.iter().find(|known| **known == name) else { continue };
        if tcx::exchange(&mut program::open(pins, name)?, &pin)? {
            let kept = pins.links().join(file);
            fs::rename(&pin, &kept).map_err(failed(&kept, "replace"))?;
        } else {
            // Its device is gone.
            remove(&pin)?;
        }
    }
    Ok(())
}

fn filter(ifindex: u32, direction: Direction, successors: &Successors) -> Result<()> {
    let Ok(filters) = tc::filters(ifindex, direction) else { return Ok(()) };
    let ours = filters.iter().find(|filter| filters::is_own(filter)).and_then(|filter| filter.program);
    let Some((name, program)) = ours.and_then(|id| successors.get(&id)) else { return Ok(()) };
    let mark = FilterMark { priority: FILTER_PRIORITY, handle: FILTER_HANDLE };
    let replaced = tc::attach(ifindex, mark, &[Attached { direction, name, program: program.as_fd() }]);
    passed_over(ifindex, replaced)
}

/// Replaces members of the tcx chain that no link holds; links replace the others.
fn members(ifindex: u32, at: TcAttachType, successors: &Successors) -> Result<()> {
    let Ok(chain) = sys::chain(ifindex, at) else { return Ok(()) };
    for member in chain.into_iter().filter(|member| member.link == 0) {
        let Some((_, program)) = successors.get(&member.program) else { continue };
        let exchange = || {
            let old = sys::program(member.program)?;
            sys::attach(ifindex, at, program.as_fd(), Some(old.as_fd()))
        };
        passed_over(ifindex, exchange())?;
    }
    Ok(())
}

/// Ignores the error of an interface that is gone.
fn passed_over(ifindex: u32, result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        result => result
            .map_err(|source| Error::interface(&format!("interface {ifindex}"), "swap programs", source)),
    }
}

/// The index of every interface of this thread's network namespace.
fn interfaces() -> io::Result<Vec<u32>> {
    // SAFETY: the call answers an array that ends with an index of 0, or null; it is given back below and not used
    // after.
    unsafe {
        let all = libc::if_nameindex();
        if all.is_null() {
            return Err(io::Error::last_os_error());
        }
        let mut indexes = Vec::new();
        let mut at = all;
        while (*at).if_index != 0 {
            indexes.push((*at).if_index);
            at = at.add(1);
        }
        libc::if_freenameindex(all);
        Ok(indexes)
    }
}
