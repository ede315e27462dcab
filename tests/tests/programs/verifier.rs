//! Figures that the kernel's verifier reports about a program: layouts and numbers from `linux/bpf.h`.

use std::{
    io,
    os::fd::{FromRawFd, OwnedFd},
};

use aya_obj::generated::bpf_insn;
use naru_abi::LICENSE;

const PROG_LOAD: libc::c_int = 5;
/// `BPF_PROG_TYPE_SCHED_CLS`.
const CLASSIFIER: u32 = 3;
/// `BPF_LOG_STATS`: figures only.
const FIGURES: u32 = 4;
/// Beginning of the verifier's line about stacks: those of the functions in their order, with `+` between them.
const DEPTHS: &str = "stack depth ";

/// The beginning of `union bpf_attr` for loading.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    version: u32,
    flags: u32,
}

/// Bytes of stack of each function of the program, which must load.
pub fn stack_depths(code: &[bpf_insn]) -> Vec<u32> {
    let license = std::ffi::CString::new(LICENSE).unwrap();
    let mut log = vec![0u8; 1 << 16];
    let mut attr = Load {
        kind: CLASSIFIER,
        count: u32::try_from(code.len()).unwrap(),
        instructions: code.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: FIGURES,
        log_size: u32::try_from(log.len()).unwrap(),
        log: log.as_mut_ptr() as u64,
        version: 0,
        flags: 0,
    };
    let answer = loop {
        // SAFETY: `attr` and what it points to are valid for the call, and the size is the one of `attr`.
        let answer = unsafe {
            libc::syscall(libc::SYS_bpf, PROG_LOAD, std::ptr::from_mut(&mut attr), size_of::<Load>())
        };
        let error = io::Error::last_os_error();
        // A signal breaks a verification off.
        if answer >= 0 || error.raw_os_error() != Some(libc::EAGAIN) {
            break answer;
        }
    };
    let text = String::from_utf8_lossy(&log);
    assert!(answer >= 0, "{}: {text}", io::Error::last_os_error());
    // SAFETY: the kernel just made this descriptor for us; nobody else has it.
    drop(unsafe { OwnedFd::from_raw_fd(i32::try_from(answer).unwrap()) });
    let line = text.lines().find_map(|line| line.strip_prefix(DEPTHS)).unwrap_or_else(|| panic!("{text}"));
    // Newer kernels add the largest chain of calls behind.
    let depths = line.split([' ', '\0']).next().unwrap_or_default();
    depths.split('+').map(|depth| depth.parse().unwrap()).collect()
}
