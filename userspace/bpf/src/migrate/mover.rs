//! A program of a few instructions that moves counters from one map to another, on the CPU that it runs on.
//!
//! It is run by `BPF_PROG_TEST_RUN`, with both keys in the first bytes of its packet. For each word it adds to the new
//! counter what it read of the old one, and takes just that away from the old one: atomically, so that no program that
//! counts on this CPU in between loses anything. Instructions are written down as `linux/bpf.h` numbers them.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    thread,
};

use rustix::thread::{CpuSet, sched_setaffinity};

use crate::trial;

/// `BPF_FUNC_map_lookup_elem`.
const LOOKUP: u32 = 1;
/// `BPF_PSEUDO_MAP_FD`, in the place of a source register.
const MAP_FD: u8 = 1;
/// Where `struct __sk_buff` has the packet's beginning and end.
const DATA: i16 = 76;
const DATA_END: i16 = 80;
/// Bytes of a packet that a test run takes.
const FRAME: usize = 64;

/// Opcodes: class, size and mode together.
mod op {
    pub const LOAD_WORD: u8 = 0x61;
    pub const LOAD_DOUBLE: u8 = 0x79;
    pub const STORE_WORD: u8 = 0x63;
    pub const ADD_ATOMIC: u8 = 0xdb;
    pub const LOAD_IMMEDIATE: u8 = 0x18;
    pub const MOVE: u8 = 0xbf;
    pub const MOVE_IMMEDIATE: u8 = 0xb7;
    pub const ADD_IMMEDIATE: u8 = 0x07;
    pub const NEGATE: u8 = 0x87;
    pub const JUMP_IF_GREATER: u8 = 0x2d;
    pub const JUMP_IF_NOT_ZERO: u8 = 0x55;
    pub const CALL: u8 = 0x85;
    pub const EXIT: u8 = 0x95;
}

/// The program, loaded for a pair of maps.
pub(super) struct Mover {
    program: OwnedFd,
}

impl Mover {
    /// Moves those words of eight bytes, numbered in the values of the old map and of the new one.
    pub(super) fn new(maps: (BorrowedFd<'_>, BorrowedFd<'_>), words: &[(usize, usize)]) -> io::Result<Self> {
        Ok(Self { program: trial::load(&program(maps, words)?)? })
    }

    /// Moves what this CPU has in the old map under the one key to the new map's other key.
    pub(super) fn run(&self, then: u32, now: u32) -> io::Result<()> {
        let mut frame = [0; FRAME];
        for (at, byte) in then.to_ne_bytes().into_iter().chain(now.to_ne_bytes()).enumerate() {
            frame[at] = byte;
        }
        match trial::run(&self.program, &frame)? {
            0 => Ok(()),
            // The pod's counters went meanwhile, and with them the reason to keep what they said.
            _ => Ok(()),
        }
    }
}

/// Calls `work` on every CPU that this process may run on, with its number.
pub(super) fn on_each_cpu(work: impl Fn(usize) -> io::Result<()> + Sync) -> io::Result<()> {
    let all = aya::util::nr_cpus().map_err(|(_, error)| error)?;
    // A thread of its own: the caller stays free to run wherever it likes.
    let walk = || {
        for cpu in 0..all.min(CpuSet::MAX_CPU) {
            let mut only = CpuSet::new();
            only.set(cpu);
            if sched_setaffinity(None, &only).is_ok() {
                work(cpu)?;
            }
        }
        Ok(())
    };
    thread::scope(|scope| scope.spawn(walk).join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())))
}

fn program((old, new): (BorrowedFd<'_>, BorrowedFd<'_>), words: &[(usize, usize)]) -> io::Result<Vec<u64>> {
    let mut code = vec![
        instruction(op::MOVE, 6, 1, 0, 0),
        instruction(op::LOAD_WORD, 2, 6, DATA, 0),
        instruction(op::LOAD_WORD, 3, 6, DATA_END, 0),
        instruction(op::MOVE, 4, 2, 0, 0),
        instruction(op::ADD_IMMEDIATE, 4, 0, 0, 8),
        // Over the two instructions of the ending that follows.
        instruction(op::MOVE_IMMEDIATE, 0, 0, 0, 1),
        instruction(op::JUMP_IF_GREATER, 4, 3, 1, 0),
        instruction(0x05, 0, 0, 1, 0),
        instruction(op::EXIT, 0, 0, 0, 0),
        instruction(op::LOAD_WORD, 5, 2, 0, 0),
        instruction(op::STORE_WORD, 10, 5, -4, 0),
        instruction(op::LOAD_WORD, 5, 2, 4, 0),
        instruction(op::STORE_WORD, 10, 5, -8, 0),
    ];
    look_up(&mut code, old, -4, 7);
    look_up(&mut code, new, -8, 8);
    for (then, now) in words {
        let [then, now] = [place(*then)?, place(*now)?];
        code.extend([
            instruction(op::LOAD_DOUBLE, 1, 7, then, 0),
            instruction(op::ADD_ATOMIC, 8, 1, now, 0),
            instruction(op::NEGATE, 1, 0, 0, 0),
            instruction(op::ADD_ATOMIC, 7, 1, then, 0),
        ]);
    }
    code.extend([instruction(op::MOVE_IMMEDIATE, 0, 0, 0, 0), instruction(op::EXIT, 0, 0, 0, 0)]);
    Ok(code)
}

/// Looks a key on the stack up and leaves the value's address in `register`; ends the program where there is none.
fn look_up(code: &mut Vec<u64>, map: BorrowedFd<'_>, key: i16, register: u8) {
    code.extend([
        instruction(op::LOAD_IMMEDIATE, 1, MAP_FD, 0, map.as_raw_fd().cast_unsigned()),
        instruction(0, 0, 0, 0, 0),
        instruction(op::MOVE, 2, 10, 0, 0),
        instruction(op::ADD_IMMEDIATE, 2, 0, 0, i32::from(key).cast_unsigned()),
        instruction(op::CALL, 0, 0, 0, LOOKUP),
        instruction(op::JUMP_IF_NOT_ZERO, 0, 0, 2, 0),
        instruction(op::MOVE_IMMEDIATE, 0, 0, 0, 1),
        instruction(op::EXIT, 0, 0, 0, 0),
        instruction(op::MOVE, register, 0, 0, 0),
    ]);
}

/// Where a word is.
fn place(word: usize) -> io::Result<i16> {
    i16::try_from(word * 8).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// `struct bpf_insn`: code, destination and source register, offset, constant.
fn instruction(code: u8, destination: u8, source: u8, offset: i16, constant: u32) -> u64 {
    let registers = destination | source << 4;
    u64::from(code)
        | u64::from(registers) << 8
        | u64::from(offset.cast_unsigned()) << 16
        | u64::from(constant) << 32
}
