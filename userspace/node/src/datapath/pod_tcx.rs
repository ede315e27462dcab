//! A pod's filters by tcx, without links: like clsact filters they go with the veth, and nothing is pinned for a pod.

use std::os::fd::AsFd;

use aya::programs::{ProgramInfo, SchedClassifier, TcAttachType};
use naru_abi::{InterfaceValue, maps, pod_flags};

use super::{
    Error, Pins, Result, batch, bpf,
    filters::{PLACES, program_error},
    install::refused,
    map::{self, failed},
    program, tc, tcx,
};

/// Attaches the pinned program `name` last in the chain of that direction, or in place of an earlier build of it.
pub(super) fn attach(pins: &Pins, name: &'static str, interface: &str, at: TcAttachType) -> Result<()> {
    let program = program::open(pins, name)?;
    let program = program.fd().map_err(refused(name, "open"))?;
    let old = match ours(name, interface, at)? {
        Some(old) if old.id() == program::id(pins, name)? => return Ok(()),
        old => old.map(|old| old.fd()).transpose().map_err(refused(name, "open what it replaces"))?,
    };
    let failed =
        |source| Error::Interface { interface: interface.to_owned(), action: "attach by tcx", source };
    let attach = || bpf::attach(tc::ifindex(interface)?, at, program.as_fd(), old.as_ref().map(AsFd::as_fd));
    match attach() {
        // Another process came first.
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        result => result.map_err(failed),
    }
}

/// Whether the pinned program `name` is in the chain.
pub(super) fn is_attached(
    pins: &Pins,
    name: &'static str,
    interface: &str,
    at: TcAttachType,
) -> Result<bool> {
    if !tcx::is_supported(interface) {
        return Ok(false);
    }
    let wanted = program::id(pins, name)?;
    Ok(ours(name, interface, at)?.is_some_and(|one| one.id() == wanted))
}

/// Indexes of the pods' interfaces that lack a program of ours by tcx, or have one too many. The kernel announces nothing of
/// these; a look is one call for all pods, and two for each.
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

/// Whether the chain lacks `wanted`, or has others of ours. One that is gone, or a kernel without tcx, is for others.
fn is_wrong(ifindex: u32, at: TcAttachType, wanted: Option<u32>) -> bool {
    let Ok(chain) = bpf::chain(ifindex, at) else { return false };
    let (is_wanted, others): (Vec<u32>, Vec<u32>) =
        chain.iter().map(|member| member.program).partition(|program| Some(*program) == wanted);
    is_wanted.is_empty() && wanted.is_some() || others.into_iter().any(program::is_number_ours)
}

/// The program of this name in the chain.
fn ours(name: &str, interface: &str, at: TcAttachType) -> Result<Option<ProgramInfo>> {
    let (_, chain) = SchedClassifier::query_tcx(interface, at)
        .map_err(|source| program_error(interface, "list tcx programs", source))?;
    Ok(chain.into_iter().find(|one| one.name_as_str() == Some(name)))
}
