//! The two programs of a pod's host veth.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use aya::programs::TcAttachType;
use naru_abi::{FILTER_HANDLE, FILTER_PRIORITY, InterfaceValue, maps, pod_flags, programs};
use naru_netlink::{
    FilterMark,
    tc::{self, Attached, Direction},
};

use crate::{
    AttachMode, Error, Pins, Result, batch, filters,
    map::{self, failed},
    pod_tcx, program, strays, sys, tcx,
};

/// Returns the mode in which the filters of a pod with these [`pod_flags`] are attached. The bandwidth plugin may limit
/// a pod whose packets take the stack; its ingress qdisc takes the place of clsact, so only such pods wait for RCU, as
/// tcx does.
#[must_use]
pub const fn pod_mode(flags: u32) -> AttachMode {
    if flags & pod_flags::NO_SHORTCUT == 0 { AttachMode::Clsact } else { AttachMode::Auto }
}

/// A pod's programs.
const PLACES: [(&str, TcAttachType); 2] =
    [(programs::FROM_POD, TcAttachType::Ingress), (programs::TO_POD, TcAttachType::Egress)];

/// The state of a pod's two filters with the programs that are pinned now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PodFilters {
    /// `from_pod` at ingress.
    pub from_pod: bool,
    /// `to_pod` at egress.
    pub to_pod: bool,
}

impl PodFilters {
    /// Returns true if both are.
    #[must_use]
    pub fn is_complete(self) -> bool {
        self.from_pod && self.to_pod
    }
}

/// Attaches the pinned programs to the pod's host veth `interface`: clsact with one filter of ours in each direction,
/// or tcx. Idempotent: what is there is replaced without a gap.
///
/// # Errors
/// [`Error::NotInstalled`], [`Error::NoTcx`], and the kernel's.
pub fn attach_pod(pins: &Pins, interface: &str, mode: AttachMode) -> Result<()> {
    let has_tcx = mode != AttachMode::Clsact && tcx::is_supported(interface);
    match mode {
        AttachMode::Tcx if !has_tcx => Err(Error::NoTcx(interface.to_owned())),
        // The filter is removed second: a packet may meet both programs, but never none.
        _ if has_tcx => PLACES.into_iter().try_for_each(|(name, at)| {
            pod_tcx::attach(pins, name, interface, at)?;
            let kept = program::id(pins, name)?;
            strays::clear_tcx(interface, at, |id| id == kept)?;
            strays::clear_filters(interface, at, true).map(drop)
        }),
        _ => attach_filters(pins, interface),
    }
}

/// Does the same as [`attach_pod`], for an interface that may have surplus programs of ours; these are removed.
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

/// Returns true if the program of this number is one of those that are pinned for pods.
#[must_use]
pub fn is_of_pods(pins: &Pins, program: u32) -> bool {
    PLACES.iter().any(|(name, _)| program::id(pins, name).is_ok_and(|pinned| pinned == program))
}

/// The filters of naru on `interface`.
///
/// # Errors
/// The kernel's; `ENODEV` where there is no such interface.
pub fn pod_filters(pins: &Pins, interface: &str) -> Result<PodFilters> {
    let is_there = |(name, at)| {
        Ok(filters::is_put(pins, name, interface, at)? || pod_tcx::is_attached(pins, name, interface, at)?)
    };
    let [from_pod, to_pod] = PLACES.map(is_there);
    Ok(PodFilters { from_pod: from_pod?, to_pod: to_pod? })
}

/// Sets both filters in one netlink exchange, as every ADD waits for this.
fn attach_filters(pins: &Pins, interface: &str) -> Result<()> {
    let mark = FilterMark { priority: FILTER_PRIORITY, handle: FILTER_HANDLE };
    let [from_pod, to_pod] = [open(pins, programs::FROM_POD)?, open(pins, programs::TO_POD)?];
    let filters = [
        Attached { direction: Direction::Ingress, name: programs::FROM_POD, program: from_pod.as_fd() },
        Attached { direction: Direction::Egress, name: programs::TO_POD, program: to_pod.as_fd() },
    ];
    let attach = || tc::attach(tc::ifindex(interface)?, mark, &filters);
    attach().map_err(|source| Error::interface(interface, "attach filters", source))
}

/// A descriptor of a pinned program.
fn open(pins: &Pins, name: &'static str) -> Result<OwnedFd> {
    let pin = pins.program(name);
    sys::open(&pin).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::NotInstalled(pin),
        _ => Error::Pin { path: pin, action: "open", source },
    })
}

/// Returns the indexes of pods' interfaces that lack a program of ours by tcx, or have one too many. The kernel
/// announces no such changes; this takes one call for all pods, and two for each.
///
/// # Errors
/// [`Error::NotInstalled`], and the kernel's.
pub fn wrong_by_tcx(pins: &Pins) -> Result<Vec<u32>> {
    let map = map::data(&pins.map(maps::INTERFACES), maps::INTERFACES)?;
    let mut all: Vec<(u32, InterfaceValue)> =
        batch::entries(&map).map_err(failed(maps::INTERFACES, "list"))?;
    let places = PLACES.map(|(name, at)| Ok((program::id(pins, name)?, at)));
    let places = places.into_iter().collect::<Result<Vec<(u32, TcAttachType)>>>()?;
    all.retain(|(ifindex, value)| {
        let is_by_tcx = value.flags & pod_flags::NO_SHORTCUT != 0;
        places.iter().any(|(program, at)| is_wrong(*ifindex, *at, is_by_tcx.then_some(*program)))
    });
    Ok(all.into_iter().map(|(ifindex, _)| ifindex).collect())
}

/// Returns true if the chain lacks `wanted`, or has other programs of ours. An interface that is gone, or a kernel
/// without tcx, is reported elsewhere.
fn is_wrong(ifindex: u32, at: TcAttachType, wanted: Option<u32>) -> bool {
    let Ok(chain) = sys::chain(ifindex, at) else { return false };
    let (is_wanted, others): (Vec<u32>, Vec<u32>) =
        chain.iter().map(|member| member.program).partition(|program| Some(*program) == wanted);
    is_wanted.is_empty() && wanted.is_some() || others.into_iter().any(program::is_number_ours)
}
