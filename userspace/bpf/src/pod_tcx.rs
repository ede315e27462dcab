//! A pod's filters by tcx, without links: like clsact filters they go with the veth, and nothing is pinned for a pod.

use std::os::fd::AsFd;

use aya::programs::{ProgramInfo, SchedClassifier, TcAttachType};
use naru_netlink::tc;

use crate::{Error, Pins, Result, install::refused, program, sys, tcx};

/// Attaches the pinned program `name` last in the chain of that direction, or in place of an earlier build of it.
pub(crate) fn attach(pins: &Pins, name: &'static str, interface: &str, at: TcAttachType) -> Result<()> {
    let program = program::open(pins, name)?;
    let program = program.fd().map_err(refused(name, "open"))?;
    let chain = numbers(interface, at)?;
    if is_in(&chain, program::id(pins, name)?) {
        return Ok(());
    }
    // A process that may not read the names of others' programs finds none to replace.
    let old = if chain.is_empty() { None } else { ours(name, interface, at).unwrap_or_default() };
    let old = old.map(|old| old.fd()).transpose().map_err(refused(name, "open what it replaces"))?;
    let failed = |source| Error::interface(interface, "attach by tcx", source);
    let attach = || sys::attach(tc::ifindex(interface)?, at, program.as_fd(), old.as_ref().map(AsFd::as_fd));
    match attach() {
        // Another process came first.
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        result => result.map_err(failed),
    }
}

/// Returns true if the pinned program `name` is in the chain.
pub(crate) fn is_attached(
    pins: &Pins,
    name: &'static str,
    interface: &str,
    at: TcAttachType,
) -> Result<bool> {
    if !tcx::is_supported(interface) {
        return Ok(false);
    }
    let wanted = program::id(pins, name)?;
    Ok(is_in(&numbers(interface, at)?, wanted))
}

fn is_in(chain: &[sys::Member], program: u32) -> bool {
    chain.iter().any(|one| one.program == program)
}

fn numbers(interface: &str, at: TcAttachType) -> Result<Vec<sys::Member>> {
    tcx::chain(interface, at).map_err(|source| Error::interface(interface, "list tcx programs", source))
}

/// The program of this name in the chain.
fn ours(name: &str, interface: &str, at: TcAttachType) -> Result<Option<ProgramInfo>> {
    let (_, chain) = SchedClassifier::query_tcx(interface, at)
        .map_err(|source| Error::attach(interface, "list tcx programs", source))?;
    Ok(chain.into_iter().find(|one| one.name_as_str() == Some(name)))
}
