//! The end of a pod's hold: its MTU is written in place. If user space wrote the whole entry again, that would be
//! another element, and marks that a program sets in the old one would be lost; but the mark decides whether an answer
//! takes the stack.

use std::{io, os::fd::AsFd};

use aya::maps::MapData;
use naru_abi::{Addr, PodValue};

use super::code::{PACKET, Program, begin, end, instruction, look_up, op, push};

/// Largest packet of a pod that is held: none fits, so all take the node's stack.
pub(super) const HELD: u32 = 0;

/// Writes the MTU of each address into its entry of the map of pods, if there is one.
pub(super) fn release(pods: &MapData, all: &[(Addr, u32)]) -> io::Result<()> {
    let at = i16::try_from(std::mem::offset_of!(PodValue, mtu)).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut code = begin(20);
    push(&mut code, 0..4, -16);
    look_up(&mut code, pods.fd().as_fd(), -16, 7);
    code.push(instruction(op::LOAD_WORD, 5, PACKET, 16, 0));
    code.push(instruction(op::STORE_WORD, 7, 5, at, 0));
    end(&mut code);
    let program = Program::load(&code)?;
    for (address, mtu) in all {
        let [a, b, c, d] = address.words();
        program.run(&[a, b, c, d, *mtu])?;
    }
    Ok(())
}
