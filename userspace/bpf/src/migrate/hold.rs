//! The end of the hold of a pod: its MTU is written where it stands. An entry that user space writes anew is another
//! element, and what a program marks in the one before is lost; here the mark decides whether an answer finds its way.

use std::{io, os::fd::AsFd};

use aya::maps::MapData;
use naru_abi::{Addr, PodValue};

use super::code::{PACKET, Program, begin, end, instruction, look_up, op, push};

/// Largest packet of a pod that is held: none passes, all take the node's stack.
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
