//! Moves counters from one map to another, on the CPU to which they belong.
//!
//! For each word the program reads the old counter, adds that to the new one and subtracts it from the old one, both
//! atomically, so that no program that counts on this CPU in between loses anything.

use std::{io, os::fd::BorrowedFd, thread};

use rustix::thread::{CpuSet, sched_setaffinity};

use super::code::{Program, begin, end, instruction, look_up, op, push};

/// The program, loaded for a pair of maps.
pub(super) struct Mover(Program);

impl Mover {
    /// Moves those words of eight bytes, numbered in the values of the old map and of the new one.
    pub(super) fn new(
        (old, new): (BorrowedFd<'_>, BorrowedFd<'_>),
        words: &[(usize, usize)],
    ) -> io::Result<Self> {
        let mut code = begin(8);
        push(&mut code, 0..2, -8);
        look_up(&mut code, old, -8, 7);
        look_up(&mut code, new, -4, 8);
        for (then, now) in words {
            let [then, now] = [place(*then)?, place(*now)?];
            code.extend([
                instruction(op::LOAD_DOUBLE, 1, 7, then, 0),
                instruction(op::ADD_ATOMIC, 8, 1, now, 0),
                instruction(op::NEGATE, 1, 0, 0, 0),
                instruction(op::ADD_ATOMIC, 7, 1, then, 0),
            ]);
        }
        end(&mut code);
        Program::load(&code).map(Self)
    }

    /// Moves this CPU's counters in the old map under the key `then` to the key `now` of the new map. Where the new key
    /// is gone, the pod is too, and with it the reason to keep its counters.
    pub(super) fn run(&self, then: u32, now: u32) -> io::Result<()> {
        self.0.run(&[then, now]).map(drop)
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

/// The place of a word.
fn place(word: usize) -> io::Result<i16> {
    i16::try_from(word * 8).map_err(|_| io::ErrorKind::InvalidInput.into())
}
