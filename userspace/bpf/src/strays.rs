//! Programs of ours beside the one that should see a packet: from a process that died between two ways of attaching, or
//! from an installation whose pins are lost. Programs of others are never touched.

use std::io;

use aya::programs::{ProgramInfo, SchedClassifier, TcAttachType, TcHandle, tc::SchedClassifierLink};
use naru_netlink::tc::{self, Filter};

use crate::{Error, Result, filters, program, sys};

/// Returns true if more than one program of ours sees the packets of one direction of `interface`.
///
/// # Errors
/// The kernel's; `ENODEV` where there is no such interface.
pub fn has_strays(interface: &str) -> Result<bool> {
    for at in [TcAttachType::Ingress, TcAttachType::Egress] {
        let (programs, filters) = (programs(interface, at), filters::list(interface, at)?);
        // Alone, it need not be asked whose it is.
        if programs.len() + filters.len() > 1 {
            let by_tcx = programs.iter().filter(|one| program::is_ours(one)).count();
            if by_tcx + filters.iter().filter(|one| is_ours(one)).count() > 1 {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Removes our programs from the tcx chain except those that `keep` names.
pub(crate) fn clear_tcx(interface: &str, at: TcAttachType, keep: impl Fn(u32) -> bool) -> Result<()> {
    let programs = programs(interface, at);
    let strays = programs.iter().filter(|one| !keep(one.id()) && program::is_ours(one));
    let strays: Vec<u32> = strays.map(ProgramInfo::id).collect();
    if strays.is_empty() {
        return Ok(());
    }
    let clear = || {
        let index = tc::ifindex(interface)?;
        let chain = sys::chain(index, at)?.into_iter();
        chain
            .filter(|member| strays.contains(&member.program))
            .try_for_each(|member| is_gone(sys::detach(index, at, member)))
    };
    clear().map_err(|source| Error::interface(interface, "remove a second program", source))
}

/// Removes our filters; also the one that belongs there if `all` is set. Returns true if there were any.
pub(crate) fn clear_filters(interface: &str, at: TcAttachType, all: bool) -> Result<bool> {
    use aya::programs::Link as _;
    let mut found = false;
    for filter in filters::list(interface, at)?
        .iter()
        .filter(|one| if filters::is_own(one) { all } else { is_ours(one) })
    {
        found = true;
        let handle = TcHandle::from(filter.handle);
        let link = SchedClassifierLink::attached(interface, at, filter.priority, handle, None)
            .map_err(|source| Error::interface(interface, "find filter", source))?;
        link.detach().map_err(|source| Error::attach(interface, "remove filter", source))?;
    }
    Ok(found)
}

/// Returns the programs of the tcx chain; none if the kernel has no tcx.
fn programs(interface: &str, at: TcAttachType) -> Vec<ProgramInfo> {
    SchedClassifier::query_tcx(interface, at).map(|(_, chain)| chain).unwrap_or_default()
}

/// Returns true if it is that one, or another with a program of ours.
fn is_ours(filter: &Filter) -> bool {
    filters::is_own(filter) || filter.program.is_some_and(program::is_number_ours)
}

/// Treats an object that went meanwhile as removed.
fn is_gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}
