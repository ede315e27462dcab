//! Programs of a few instructions that work on maps from process context, run by `BPF_PROG_TEST_RUN` with their input
//! in the first bytes of the packet. Instructions have the numbers of `linux/bpf.h`.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

use crate::trial;

/// `BPF_FUNC_map_lookup_elem`.
const LOOKUP: u32 = 1;
/// `BPF_PSEUDO_MAP_FD`, in the place of a source register.
const MAP_FD: u8 = 1;
/// Offsets of the packet's beginning and end in `struct __sk_buff`.
const DATA: i16 = 76;
const DATA_END: i16 = 80;
/// Bytes of a packet that a test run takes.
const FRAME: usize = 64;
/// Register that holds the beginning of the packet once [`begin`] is through.
pub(super) const PACKET: u8 = 9;

/// Opcodes: class, size and mode together.
pub(super) mod op {
    pub const LOAD_WORD: u8 = 0x61;
    pub const LOAD_DOUBLE: u8 = 0x79;
    pub const STORE_WORD: u8 = 0x63;
    pub const ADD_ATOMIC: u8 = 0xdb;
    pub const LOAD_IMMEDIATE: u8 = 0x18;
    pub const MOVE: u8 = 0xbf;
    pub const MOVE_IMMEDIATE: u8 = 0xb7;
    pub const ADD_IMMEDIATE: u8 = 0x07;
    pub const NEGATE: u8 = 0x87;
    pub const JUMP_UNLESS_GREATER: u8 = 0xbd;
    pub const JUMP_IF_NOT_ZERO: u8 = 0x55;
    pub const CALL: u8 = 0x85;
    pub const EXIT: u8 = 0x95;
}

/// A program that is loaded.
pub(super) struct Program(OwnedFd);

impl Program {
    /// Loads these instructions.
    pub(super) fn load(code: &[u64]) -> io::Result<Self> {
        trial::load(code).map(Self)
    }

    /// Runs the program on this CPU with these words at the packet's beginning. Returns its result.
    pub(super) fn run(&self, words: &[u32]) -> io::Result<i32> {
        let mut frame = [0; FRAME];
        let bytes = words.iter().flat_map(|word| word.to_ne_bytes());
        frame.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
        trial::run(&self.0, &frame)
    }
}

/// The beginning of a program: checks that the packet has that many bytes, and ends the program otherwise.
pub(super) fn begin(bytes: u32) -> Vec<u64> {
    vec![
        instruction(op::LOAD_WORD, PACKET, 1, DATA, 0),
        instruction(op::LOAD_WORD, 3, 1, DATA_END, 0),
        instruction(op::MOVE, 4, PACKET, 0, 0),
        instruction(op::ADD_IMMEDIATE, 4, 0, 0, bytes),
        instruction(op::JUMP_UNLESS_GREATER, 4, 3, 2, 0),
        instruction(op::MOVE_IMMEDIATE, 0, 0, 0, 1),
        instruction(op::EXIT, 0, 0, 0, 0),
    ]
}

/// Copies words of the packet to the stack, from `below` its end on.
pub(super) fn push(code: &mut Vec<u64>, words: std::ops::Range<i16>, below: i16) {
    for (number, word) in words.enumerate() {
        let at = below + i16::try_from(number * 4).unwrap_or_default();
        code.push(instruction(op::LOAD_WORD, 5, PACKET, word * 4, 0));
        code.push(instruction(op::STORE_WORD, 10, 5, at, 0));
    }
}

/// The end of a program that succeeded.
pub(super) fn end(code: &mut Vec<u64>) {
    code.extend([instruction(op::MOVE_IMMEDIATE, 0, 0, 0, 0), instruction(op::EXIT, 0, 0, 0, 0)]);
}

/// Looks up a key on the stack and leaves the value's address in `register`; ends the program if there is no entry.
pub(super) fn look_up(code: &mut Vec<u64>, map: BorrowedFd<'_>, key: i16, register: u8) {
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

/// `struct bpf_insn`: code, destination and source register, offset, constant.
pub(super) fn instruction(code: u8, destination: u8, source: u8, offset: i16, constant: u32) -> u64 {
    let registers = destination | source << 4;
    u64::from(code)
        | u64::from(registers) << 8
        | u64::from(offset.cast_unsigned()) << 16
        | u64::from(constant) << 32
}
