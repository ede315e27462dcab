//! A pod's filters by tcx, without links: like clsact filters they go with the veth, and nothing is pinned for a pod.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

use aya::programs::{ProgramInfo, SchedClassifier, TcAttachType};

use super::{Error, Pins, Result, filters::program_error, install::refused, program, tc, tcx};

/// `BPF_PROG_ATTACH`, its flag `BPF_F_REPLACE`, and the attach types `BPF_TCX_INGRESS` and `BPF_TCX_EGRESS`.
const PROG_ATTACH: libc::c_int = 8;
const REPLACE: u32 = 4;
const TCX_INGRESS: u32 = 46;
const TCX_EGRESS: u32 = 47;

/// `struct { target_ifindex, attach_bpf_fd, attach_type, attach_flags, replace_bpf_fd, relative_fd, expected_revision }`
/// of `union bpf_attr` (`linux/bpf.h`).
#[repr(C)]
struct ProgAttach {
    ifindex: u32,
    program: u32,
    kind: u32,
    flags: u32,
    replaced: u32,
    relative: u32,
    revision: u64,
}

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
    let number = |fd: &dyn AsRawFd| u32::try_from(fd.as_raw_fd()).unwrap_or_default();
    let attr = ProgAttach {
        ifindex: tc::ifindex(interface).map_err(failed)?,
        program: number(&program.as_fd()),
        kind: if at == TcAttachType::Ingress { TCX_INGRESS } else { TCX_EGRESS },
        flags: if old.is_some() { REPLACE } else { 0 },
        replaced: old.as_ref().map_or(0, |old| number(&old.as_fd())),
        relative: 0,
        revision: 0,
    };
    // SAFETY: `attr` is valid for the call, and the size is its own.
    let done = unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attr, size_of::<ProgAttach>()) };
    if done == 0 { Ok(()) } else { Err(failed(io::Error::last_os_error())) }
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

/// The program of this name in the chain.
fn ours(name: &str, interface: &str, at: TcAttachType) -> Result<Option<ProgramInfo>> {
    let (_, chain) = SchedClassifier::query_tcx(interface, at)
        .map_err(|source| program_error(interface, "list tcx programs", source))?;
    Ok(chain.into_iter().find(|one| one.name_as_str() == Some(name)))
}
