//! A trial of a helper on a packet of our own: `bpf_skb_adjust_room` learned its flags one by one (5.2 to 6.3), and
//! only a run shows which the kernel has. Layouts and numbers from `linux/bpf.h`.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    sync::OnceLock,
};

use crate::sys::{self, request};

const PROG_LOAD: libc::c_int = 5;
const PROG_TEST_RUN: libc::c_int = 10;
/// `BPF_PROG_TYPE_SCHED_CLS`.
const CLASSIFIER: u32 = 3;
/// `BPF_FUNC_skb_adjust_room`.
const ADJUST_ROOM: u32 = 50;
/// `BPF_ADJ_ROOM_MAC`.
const AT_MAC: u32 = 1;
/// `FIXED_GSO | ENCAP_L3_IPV4 | ENCAP_L4_UDP | NO_CSUM_RESET | ENCAP_L2_ETH`, and the length of the inner header.
const ENCAPSULATE: u64 = 0b111_0011 | 14 << 56;
/// `FIXED_GSO | DECAP_L3_IPV4`.
const DECAPSULATE: u64 = 1 | 1 << 7;
/// Outer IPv4, UDP, VXLAN and inner Ethernet.
const HEADERS: i32 = naru_abi::TUNNEL_OVERHEAD_V4.cast_signed();

/// Returns true if programs can put packets into the tunnel and take them out: asked once a process.
pub(crate) fn can_encapsulate() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    let accepts = |length, flags| adjust_room(length, flags).is_ok_and(|code| code == 0);
    *ANSWER.get_or_init(|| accepts(HEADERS, ENCAPSULATE) && accepts(-HEADERS, DECAPSULATE))
}

/// The helper's answer for an IPv4 frame.
fn adjust_room(length: i32, flags: u64) -> io::Result<i32> {
    let program = load(&[
        instruction(0xb7, 2, length as u32),
        instruction(0xb7, 3, AT_MAC),
        // Both halves of a 64-bit constant.
        instruction(0x18, 4, flags as u32),
        instruction(0, 0, (flags >> 32) as u32),
        instruction(0x85, 0, ADJUST_ROOM),
        instruction(0x95, 0, 0),
    ])?;
    let mut frame = [0_u8; 200];
    frame[12] = 8;
    frame[14] = 0x45;
    run(&program, &frame)
}

/// `struct bpf_insn`: code, registers, offset, constant.
fn instruction(code: u8, register: u8, constant: u32) -> u64 {
    u64::from(code) | u64::from(register) << 8 | u64::from(constant) << 32
}

request! {
    /// The beginning of `union bpf_attr` for loading.
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
}

pub(crate) fn load(instructions: &[u64]) -> io::Result<OwnedFd> {
    let license = c"Dual MIT/GPL";
    let mut attr = Load {
        kind: CLASSIFIER,
        count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        version: 0,
        flags: 0,
    };
    // SAFETY: instructions and licence live until the call returns.
    unsafe { sys::descriptor(PROG_LOAD, &mut attr) }
}

request! {
    /// The beginning of `union bpf_attr` for a test run.
    struct Run {
        program: u32,
        answer: u32,
        size_in: u32,
        size_out: u32,
        data_in: u64,
        data_out: u64,
        repeat: u32,
        duration: u32,
    }
}

pub(crate) fn run(program: &OwnedFd, frame: &[u8]) -> io::Result<i32> {
    let mut attr = Run {
        program: program.as_raw_fd() as u32,
        answer: 0,
        size_in: frame.len() as u32,
        size_out: 0,
        data_in: frame.as_ptr() as u64,
        data_out: 0,
        repeat: 1,
        duration: 0,
    };
    // SAFETY: the frame lives until the call returns, which writes nothing but the request.
    unsafe { sys::call(PROG_TEST_RUN, &mut attr)? };
    Ok(attr.answer as i32)
}
