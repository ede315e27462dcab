//! Calls of bpf(2) that aya lacks, or offers only with more than is needed. Layouts from `linux/bpf.h`.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use aya::programs::TcAttachType;

/// `enum bpf_cmd`.
const OBJ_GET: libc::c_int = 7;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const PROG_QUERY: libc::c_int = 16;
const LINK_GET_FD_BY_ID: libc::c_int = 30;
const LINK_DETACH: libc::c_int = 34;
/// `BPF_F_REPLACE`.
const REPLACE: u32 = 4;
/// `BPF_TCX_INGRESS` and `BPF_TCX_EGRESS`.
const TCX_INGRESS: u32 = 46;
const TCX_EGRESS: u32 = 47;
/// Limit of programs in a chain (`BPF_MPROG_MAX`).
const CHAIN: usize = 64;

/// An arm of `union bpf_attr` without a byte that is not part of a field: the kernel refuses a request with anything
/// but zeros behind the fields that it knows, and an older kernel knows fewer.
///
/// # Safety
/// Implemented by [`request!`] only, which proves it.
pub(crate) unsafe trait BpfAttr {}

/// Declares an arm of `union bpf_attr`, and refuses to compile if its fields do not fill it exactly.
macro_rules! request {
    (
        $(#[$meta:meta])*
        struct $name:ident { $($(#[$about:meta])* $field:ident: $kind:ty),+ $(,)? }
    ) => {
        $(#[$meta])*
        #[repr(C)]
        struct $name { $($(#[$about])* $field: $kind),+ }
        const _: () = assert!(size_of::<$name>() == 0 $(+ size_of::<$kind>())+, "padding in a request");
        // SAFETY: the assertion excludes padding.
        unsafe impl $crate::sys::BpfAttr for $name {}
    };
}
pub(crate) use request;

request! {
    /// `struct { pathname, bpf_fd, file_flags }` of `union bpf_attr`.
    struct ObjGet {
        path: u64,
        fd: u32,
        flags: u32,
    }
}

request! {
    /// `struct { target_ifindex, attach_bpf_fd, attach_type, attach_flags, replace_bpf_fd, relative_fd,
    /// expected_revision }`.
    struct ProgAttach {
        ifindex: u32,
        program: u32,
        kind: u32,
        flags: u32,
        replaced: u32,
        relative: u32,
        revision: u64,
    }
}

request! {
    /// `struct { target_ifindex, attach_type, query_flags, attach_flags, prog_ids, count, prog_attach_flags, link_ids,
    /// link_attach_flags, revision }`.
    struct ProgQuery {
        ifindex: u32,
        kind: u32,
        query_flags: u32,
        attach_flags: u32,
        programs: u64,
        count: u32,
        unused: u32,
        program_flags: u64,
        links: u64,
        link_flags: u64,
        revision: u64,
    }
}

request! {
    /// `struct { id, next_id, open_flags }`, and `struct { link_fd }` in its first word.
    struct Number {
        number: u32,
        next: u32,
        flags: u32,
    }
}

request! {
    /// `struct { bpf_fd, info_len, info }`.
    struct ObjGetInfo {
        fd: u32,
        length: u32,
        info: u64,
    }
}

/// The beginning of `struct bpf_prog_info`, up to the name.
#[repr(C)]
#[derive(Default)]
struct ProgInfo {
    kind: u32,
    id: u32,
    tag: u64,
    translated: [u64; 3],
    loaded: u64,
    uid: u32,
    map_count: u32,
    maps: u64,
    name: [u8; 16],
}

/// Limit of maps of a program that are reported.
const USED_MAPS: usize = 64;

/// The kernel's description of a program.
pub(crate) struct Described {
    /// Hash of its instructions as written.
    pub tag: u64,
    /// Numbers of the maps that it uses.
    pub maps: Vec<u32>,
}

/// A program in a tcx chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Member {
    /// The kernel's number of the program.
    pub program: u32,
    /// Number of the link that holds the program there; 0 without one.
    pub link: u32,
}

/// Opens the object pinned at `pin`.
pub(crate) fn open(pin: &Path) -> io::Result<OwnedFd> {
    let path = c_path(pin)?;
    // SAFETY: the path lives until the call returns.
    unsafe { descriptor(OBJ_GET, &mut ObjGet { path: path.as_ptr() as u64, fd: 0, flags: 0 }) }
}

/// Attaches a program without a link: last in the tcx chain of the interface, or in the place of `replaced`.
pub(crate) fn attach(
    ifindex: u32,
    at: TcAttachType,
    program: BorrowedFd<'_>,
    replaced: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut request = ProgAttach {
        flags: if replaced.is_some() { REPLACE } else { 0 },
        replaced: replaced.map_or(0, raw),
        ..place(ifindex, at, program)
    };
    // SAFETY: the request names no memory.
    unsafe { call(PROG_ATTACH, &mut request) }.map(drop)
}

/// The tcx chain of the interface in its order.
pub(crate) fn chain(ifindex: u32, at: TcAttachType) -> io::Result<Vec<Member>> {
    let (mut programs, mut links) = ([0u32; CHAIN], [0u32; CHAIN]);
    let mut request = ProgQuery {
        ifindex,
        kind: kind(at),
        query_flags: 0,
        attach_flags: 0,
        programs: programs.as_mut_ptr() as u64,
        count: CHAIN as u32,
        unused: 0,
        program_flags: 0,
        links: links.as_mut_ptr() as u64,
        link_flags: 0,
        revision: 0,
    };
    // SAFETY: both arrays have room for as many numbers as the request says, and live until the call returns.
    unsafe { call(PROG_QUERY, &mut request)? };
    let all = programs.into_iter().zip(links).take(request.count as usize);
    Ok(all.map(|(program, link)| Member { program, link }).collect())
}

/// Removes a program from the tcx chain of the interface, whoever holds its link.
pub(crate) fn detach(ifindex: u32, at: TcAttachType, member: Member) -> io::Result<()> {
    if member.link != 0 {
        let link = by_number(LINK_GET_FD_BY_ID, member.link)?;
        // SAFETY: the request names no memory.
        return unsafe { call(LINK_DETACH, &mut Number { number: raw(link.as_fd()), next: 0, flags: 0 }) }
            .map(drop);
    }
    let program = by_number(PROG_GET_FD_BY_ID, member.program)?;
    // SAFETY: the request names no memory.
    unsafe { call(PROG_DETACH, &mut place(ifindex, at, program.as_fd())) }.map(drop)
}

/// A descriptor of the program of that number.
pub(crate) fn program(number: u32) -> io::Result<OwnedFd> {
    by_number(PROG_GET_FD_BY_ID, number)
}

/// The name of the program of that number, as far as the kernel keeps it.
pub(crate) fn name(program: u32) -> io::Result<String> {
    let program = by_number(PROG_GET_FD_BY_ID, program)?;
    let mut info = ProgInfo::default();
    // SAFETY: the information names no memory.
    unsafe { tell(program.as_fd(), &mut info)? };
    Ok(String::from_utf8_lossy(&info.name).trim_end_matches('\0').to_owned())
}

/// Returns the kernel's description of the program behind a descriptor. Its holder needs no further right for that; to
/// ask by the program's number takes `CAP_SYS_ADMIN`.
pub(crate) fn describe(program: BorrowedFd<'_>) -> io::Result<Described> {
    let mut maps = [0u32; USED_MAPS];
    let mut info =
        ProgInfo { map_count: USED_MAPS as u32, maps: maps.as_mut_ptr() as u64, ..ProgInfo::default() };
    // SAFETY: the array has room for as many numbers as the information says, and lives until the call returns.
    unsafe { tell(program, &mut info)? };
    let used = maps.into_iter().take(info.map_count as usize).collect();
    Ok(Described { tag: info.tag, maps: used })
}

/// Fills `info`.
///
/// # Safety
/// The memory that `info` points to has the size that `info` says, and lives until the call returns.
unsafe fn tell(program: BorrowedFd<'_>, info: &mut ProgInfo) -> io::Result<()> {
    let mut request = ObjGetInfo {
        fd: raw(program),
        length: size_of::<ProgInfo>() as u32,
        info: std::ptr::from_mut(info) as u64,
    };
    // SAFETY: `info` has room for as many bytes as the request says; the rest as the caller promises.
    unsafe { call(OBJ_GET_INFO_BY_FD, &mut request) }.map(drop)
}

fn place(ifindex: u32, at: TcAttachType, program: BorrowedFd<'_>) -> ProgAttach {
    let program = raw(program);
    ProgAttach { ifindex, program, kind: kind(at), flags: 0, replaced: 0, relative: 0, revision: 0 }
}

fn kind(at: TcAttachType) -> u32 {
    if at == TcAttachType::Ingress { TCX_INGRESS } else { TCX_EGRESS }
}

/// The path as the kernel takes it.
pub(crate) fn c_path(pin: &Path) -> io::Result<CString> {
    Ok(CString::new(pin.as_os_str().as_bytes())?)
}

pub(crate) fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn by_number(command: libc::c_int, number: u32) -> io::Result<OwnedFd> {
    // SAFETY: the request names no memory.
    unsafe { descriptor(command, &mut Number { number, next: 0, flags: 0 }) }
}

/// Makes a call that returns a new descriptor.
///
/// # Safety
/// As [`call`].
pub(crate) unsafe fn descriptor<T: BpfAttr>(command: libc::c_int, request: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: as the caller promises; the kernel just made the descriptor for us, and nobody else has it.
    unsafe { call(command, request).map(|fd| OwnedFd::from_raw_fd(fd)) }
}

/// Calls bpf(2). The result is never negative.
///
/// # Safety
/// `request` is the command's arm of `union bpf_attr`, and what it points to lives until the call returns.
pub(crate) unsafe fn call<T: BpfAttr>(command: libc::c_int, request: &mut T) -> io::Result<i32> {
    // SAFETY: as the caller promises; the size is the request's own.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(request), size_of::<T>()) };
    i32::try_from(result).ok().filter(|result| *result >= 0).ok_or_else(io::Error::last_os_error)
}
