//! A program of somebody else, with any name: it passes every packet on and uses no map.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::Path,
};

use aya::programs::SchedClassifier;

/// `BPF_PROG_LOAD`, `BPF_OBJ_PIN` and `BPF_PROG_TYPE_SCHED_CLS`.
const PROG_LOAD: libc::c_int = 5;
const OBJ_PIN: libc::c_int = 6;
const SCHED_CLS: u32 = 3;
/// `r0 = TC_ACT_UNSPEC`, then `exit`.
const PASS: [u64; 2] = [0xffff_ffff_0000_00b7, 0x95];

/// The beginning of the arm for `BPF_PROG_LOAD` of `union bpf_attr`.
#[repr(C)]
struct Load {
    kind: u32,
    instructions: u32,
    code: u64,
    license: u64,
    log: [u64; 2],
    version: u32,
    flags: u32,
    name: [u8; 16],
}

/// The arm for `BPF_OBJ_PIN`.
#[repr(C)]
struct Pin {
    path: u64,
    fd: u32,
    flags: u32,
}

/// Loads it and pins it at `pin`.
pub fn program(name: &str, pin: &Path) -> SchedClassifier {
    let license = c"GPL";
    let mut load = Load {
        kind: SCHED_CLS,
        instructions: 2,
        code: PASS.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log: [0; 2],
        version: 0,
        flags: 0,
        name: [0; 16],
    };
    load.name[..name.len()].copy_from_slice(name.as_bytes());
    let path = std::ffi::CString::new(pin.to_str().unwrap()).unwrap();
    // SAFETY: code, licence and path outlive the calls, the sizes are the requests' own, and nobody else has the
    // descriptor.
    unsafe {
        let fd = libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, size_of::<Load>());
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        let fd = OwnedFd::from_raw_fd(i32::try_from(fd).unwrap());
        let request = Pin { path: path.as_ptr() as u64, fd: fd.as_raw_fd().cast_unsigned(), flags: 0 };
        let pinned = libc::syscall(libc::SYS_bpf, OBJ_PIN, &raw const request, size_of::<Pin>());
        assert!(pinned == 0, "{}", io::Error::last_os_error());
    }
    SchedClassifier::from_pin(pin).unwrap()
}
