//! clsact filters of ours, one in each direction.

use aya::programs::{
    ProgramError, SchedClassifier, TcAttachType, TcHandle,
    tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcError, qdisc_add_clsact},
};
use naru_abi::{FILTER_HANDLE, FILTER_PRIORITY};
use naru_netlink::tc::{self, Direction, Filter};

use crate::{Error, Pins, Result, program};

/// Fails with the interface's name if there is no such interface.
pub(crate) fn must_exist(interface: &str) -> Result<()> {
    tc::ifindex(interface).map(drop).map_err(|source| Error::interface(interface, "find", source))
}

/// Gives `interface` a clsact qdisc, unless it has one.
pub(crate) fn add_clsact(interface: &str) -> Result<()> {
    match qdisc_add_clsact(interface) {
        Err(error) if errno(&error) == Some(libc::EEXIST) => Ok(()),
        result => result.map_err(|source| tc_error(interface, "add clsact qdisc", source)),
    }
}

/// Attaches `program` as our only filter of that direction, replacing the one we had there.
pub(crate) fn put(program: &mut SchedClassifier, interface: &str, direction: TcAttachType) -> Result<()> {
    let options = NlOptions { priority: FILTER_PRIORITY, handle: handle(), classid: None };
    match program.attach_with_options(interface, direction, TcAttachOptions::Netlink(options)) {
        Ok(link) => keep(program, link).map_err(|source| Error::attach(interface, "attach filter", source)),
        Err(ProgramError::TcError(error)) if errno(&error) == Some(libc::EEXIST) => {
            exchange(program, interface, direction)
        }
        Err(source) => Err(Error::attach(interface, "attach filter", source)),
    }
}

fn exchange(program: &mut SchedClassifier, interface: &str, direction: TcAttachType) -> Result<()> {
    let old = our_link(interface, direction)?;
    program
        .attach_to_link(old)
        .and_then(|link| keep(program, link))
        .map_err(|source| Error::attach(interface, "replace filter", source))
}

/// Removes the clsact qdisc if nobody has a filter on it.
pub(crate) fn drop_empty_clsact(interface: &str) -> Result<()> {
    let drop = || {
        let index = tc::ifindex(interface)?;
        let in_use = !tc::filters(index, Direction::Ingress)?.is_empty()
            || !tc::filters(index, Direction::Egress)?.is_empty();
        if in_use { Ok(()) } else { tc::remove_clsact(index) }
    };
    drop().map_err(|source| Error::interface(interface, "remove clsact qdisc", source))
}

/// Returns true if our filter of that direction runs the program that is pinned as `name`.
pub(crate) fn is_put(
    pins: &Pins,
    name: &'static str,
    interface: &str,
    direction: TcAttachType,
) -> Result<bool> {
    let pinned = program::id(pins, name)?;
    Ok(ours(interface, direction)? == Some(pinned))
}

/// The program of our filter of that direction.
pub(crate) fn ours(interface: &str, direction: TcAttachType) -> Result<Option<u32>> {
    Ok(list(interface, direction)?.iter().find(|filter| is_own(filter)).and_then(|filter| filter.program))
}

/// Every filter of that direction, whoever made it.
pub(crate) fn list(interface: &str, direction: TcAttachType) -> Result<Vec<Filter>> {
    let direction = if direction == TcAttachType::Ingress { Direction::Ingress } else { Direction::Egress };
    let list = || tc::filters(tc::ifindex(interface)?, direction);
    list().map_err(|source| Error::interface(interface, "list filters", source))
}

/// Returns true if it is the filter that we make.
pub(crate) fn is_own(filter: &Filter) -> bool {
    filter.priority == FILTER_PRIORITY && filter.handle == FILTER_HANDLE
}

/// Keeps filters attached: aya detaches a link when its value is dropped.
fn keep(
    program: &mut SchedClassifier,
    link: aya::programs::tc::SchedClassifierLinkId,
) -> std::result::Result<(), ProgramError> {
    std::mem::forget(program.take_link(link)?);
    Ok(())
}

fn our_link(interface: &str, direction: TcAttachType) -> Result<SchedClassifierLink> {
    SchedClassifierLink::attached(interface, direction, FILTER_PRIORITY, handle(), None)
        .map_err(|source| Error::interface(interface, "find filter", source))
}

fn handle() -> TcHandle {
    TcHandle::from(FILTER_HANDLE)
}

fn errno(error: &TcError) -> Option<i32> {
    match error {
        TcError::NetlinkError(error) => error.raw_os_error(),
        TcError::IoError(error) => error.raw_os_error(),
        TcError::AlreadyAttached => Some(libc::EEXIST),
        _ => None,
    }
}

fn tc_error(interface: &str, action: &'static str, source: TcError) -> Error {
    Error::Tc { interface: interface.to_owned(), action, source }
}
