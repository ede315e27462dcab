use std::io;

use aya::programs::{
    ProgramError, SchedClassifier, TcAttachType, TcHandle,
    tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcError, qdisc_add_clsact},
};
use naru_abi::{FILTER_HANDLE, FILTER_PRIORITY, pod_flags, programs};

use super::{AttachMode, Error, Pins, Result, pod_attach, pod_tcx, program, strays, tc, tcx};

/// How the filters of a pod with these [`pod_flags`] are attached. One that goes by the stack may be limited there by the
/// bandwidth plugin, whose ingress qdisc takes clsact's place; the wait for RCU that tcx costs is such pods' alone.
#[must_use]
pub const fn pod_mode(flags: u32) -> AttachMode {
    if flags & pod_flags::NO_SHORTCUT == 0 { AttachMode::Clsact } else { AttachMode::Auto }
}

/// A pod's programs.
pub(super) const PLACES: [(&str, TcAttachType); 2] =
    [(programs::FROM_POD, TcAttachType::Ingress), (programs::TO_POD, TcAttachType::Egress)];

/// Which of a pod's two filters are attached, with the programs that are pinned now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PodFilters {
    /// `from_pod` at ingress.
    pub from_pod: bool,
    /// `to_pod` at egress.
    pub to_pod: bool,
}

impl PodFilters {
    /// Whether both are.
    #[must_use]
    pub fn is_complete(self) -> bool {
        self.from_pod && self.to_pod
    }
}

/// Attaches the pinned programs to the pod's host veth `interface`: clsact with one filter of ours in each direction, or
/// tcx. Idempotent: what is there is replaced without a gap.
///
/// # Errors
/// [`Error::NotInstalled`], [`Error::NoTcx`], and the kernel's.
pub fn attach_pod(pins: &Pins, interface: &str, mode: AttachMode) -> Result<()> {
    let has_tcx = mode != AttachMode::Clsact && tcx::is_supported(interface);
    match mode {
        AttachMode::Tcx if !has_tcx => Err(Error::NoTcx(interface.to_owned())),
        // The filter goes second: one packet may meet both, none meets neither.
        _ if has_tcx => PLACES.into_iter().try_for_each(|(name, at)| {
            pod_tcx::attach(pins, name, interface, at)?;
            let kept = program::id(pins, name)?;
            strays::clear_tcx(interface, at, |id| id == kept)?;
            strays::clear_filters(interface, at, true).map(drop)
        }),
        _ => pod_attach::attach(pins, interface),
    }
}

/// As [`attach_pod`], for an interface that may have more of ours than it should; that goes.
///
/// # Errors
/// As [`attach_pod`].
pub fn restore_pod(pins: &Pins, interface: &str, mode: AttachMode) -> Result<()> {
    attach_pod(pins, interface, mode)?;
    if mode != AttachMode::Clsact && tcx::is_supported(interface) {
        return Ok(());
    }
    PLACES.into_iter().try_for_each(|(_, at)| {
        strays::clear_tcx(interface, at, |_| false)?;
        strays::clear_filters(interface, at, false).map(drop)
    })
}

/// Whether the program of this number is one of those that are pinned for pods.
#[must_use]
pub fn is_of_pods(pins: &Pins, program: u32) -> bool {
    PLACES.iter().any(|(name, _)| program::id(pins, name).is_ok_and(|pinned| pinned == program))
}

/// Which filters of ours are on `interface`.
///
/// # Errors
/// The kernel's; `ENODEV` where there is no such interface.
pub fn pod_filters(pins: &Pins, interface: &str) -> Result<PodFilters> {
    let is_there = |(name, at)| {
        Ok(is_put(pins, name, interface, at)? || pod_tcx::is_attached(pins, name, interface, at)?)
    };
    let [from_pod, to_pod] = PLACES.map(is_there);
    Ok(PodFilters { from_pod: from_pod?, to_pod: to_pod? })
}

/// Fails by name where there is no such interface.
pub(super) fn must_exist(interface: &str) -> Result<()> {
    tc::ifindex(interface).map(drop).map_err(|source| io_error(interface, "find", source))
}

/// Gives `interface` a clsact qdisc, unless it has one.
pub(super) fn add_clsact(interface: &str) -> Result<()> {
    match qdisc_add_clsact(interface) {
        Err(error) if errno(&error) == Some(libc::EEXIST) => Ok(()),
        result => result.map_err(|source| tc_error(interface, "add clsact qdisc", source)),
    }
}

/// Attaches `program` as our one filter of that direction, in place of what we had there.
pub(super) fn put(program: &mut SchedClassifier, interface: &str, direction: TcAttachType) -> Result<()> {
    let options = NlOptions { priority: FILTER_PRIORITY, handle: handle(), classid: None };
    match program.attach_with_options(interface, direction, TcAttachOptions::Netlink(options)) {
        Ok(link) => keep(program, link).map_err(|source| program_error(interface, "attach filter", source)),
        Err(ProgramError::TcError(error)) if errno(&error) == Some(libc::EEXIST) => {
            exchange(program, interface, direction)
        }
        Err(source) => Err(program_error(interface, "attach filter", source)),
    }
}

fn exchange(program: &mut SchedClassifier, interface: &str, direction: TcAttachType) -> Result<()> {
    let old = our_link(interface, direction)?;
    program
        .attach_to_link(old)
        .and_then(|link| keep(program, link))
        .map_err(|source| program_error(interface, "replace filter", source))
}

/// Removes the clsact qdisc if nobody has a filter on it.
pub(super) fn drop_empty_clsact(interface: &str) -> Result<()> {
    let drop = || {
        let index = tc::ifindex(interface)?;
        let in_use = !tc::filters(index, TcAttachType::Ingress)?.is_empty()
            || !tc::filters(index, TcAttachType::Egress)?.is_empty();
        if in_use { Ok(()) } else { pod_attach::remove_clsact(index) }
    };
    drop().map_err(|source| io_error(interface, "remove clsact qdisc", source))
}

/// Whether our filter of that direction runs the program that is pinned as `name`.
pub(super) fn is_put(
    pins: &Pins,
    name: &'static str,
    interface: &str,
    direction: TcAttachType,
) -> Result<bool> {
    let pinned = program::id(pins, name)?;
    Ok(ours(interface, direction)? == Some(pinned))
}

/// The program of our filter of that direction.
pub(super) fn ours(interface: &str, direction: TcAttachType) -> Result<Option<u32>> {
    let list = || tc::filters(tc::ifindex(interface)?, direction);
    let filters = list().map_err(|source| io_error(interface, "list filters", source))?;
    let own =
        filters.iter().find(|filter| filter.priority == FILTER_PRIORITY && filter.handle == FILTER_HANDLE);
    Ok(own.and_then(|filter| filter.program))
}

/// aya detaches a link with the value that stands for it; ours stay.
fn keep(
    program: &mut SchedClassifier,
    link: aya::programs::tc::SchedClassifierLinkId,
) -> std::result::Result<(), ProgramError> {
    std::mem::forget(program.take_link(link)?);
    Ok(())
}

fn our_link(interface: &str, direction: TcAttachType) -> Result<SchedClassifierLink> {
    SchedClassifierLink::attached(interface, direction, FILTER_PRIORITY, handle(), None)
        .map_err(|source| io_error(interface, "find filter", source))
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

pub(super) fn program_error(interface: &str, action: &'static str, source: ProgramError) -> Error {
    Error::Attach { interface: interface.to_owned(), action, source: Box::new(source) }
}

pub(super) fn io_error(interface: &str, action: &'static str, source: io::Error) -> Error {
    Error::Interface { interface: interface.to_owned(), action, source }
}
