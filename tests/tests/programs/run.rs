//! One packet through one program, by BPF_PROG_TEST_RUN.

use aya::programs::{SchedClassifier, TestRun, TestRunOptions};
use naru_abi::{Counter, Hook, Outcome, Verdict};
use naru_bpf::{Stats, Total};

use crate::node::Node;

/// Returned for packets that go on to the next filter or the stack.
pub const NEXT: u32 = u32::MAX;
pub const SHOT: u32 = 2;
pub const REDIRECT: u32 = 7;

/// A packet that stands for several.
#[derive(Clone, Copy)]
pub struct Gso {
    pub segments: u32,
    pub size: u32,
}

pub struct Ran {
    pub action: u32,
    pub frame: Vec<u8>,
}

/// Runs `frame` through the program of `hook` as a packet of `ifindex`.
pub fn run(node: &Node, hook: Hook, ifindex: u32, frame: &[u8], gso: Option<Gso>) -> Ran {
    let mut context = [0u8; 192];
    context[40..44].copy_from_slice(&ifindex.to_ne_bytes());
    if let Some(gso) = gso {
        context[164..168].copy_from_slice(&gso.segments.to_ne_bytes());
        context[176..180].copy_from_slice(&gso.size.to_ne_bytes());
    }
    let mut out = vec![0; frame.len() + 70];
    let pin = node.pins.program(hook.label());
    let result = node.run(|| {
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::new()
        };
        SchedClassifier::from_pin(pin).unwrap().test_run(options)
    });
    let result =
        result.unwrap_or_else(|error| panic!("{hook:?}, {} bytes, {frame:02x?}: {error:?}", frame.len()));
    out.truncate(result.data_size_out as usize);
    Ran { action: result.return_value, frame: out }
}

/// The TC action that an outcome must come with.
pub fn action(hook: Hook, outcome: Outcome) -> u32 {
    match (hook, outcome) {
        (_, Outcome::Drop(_) | Outcome::Link(_)) => SHOT,
        (_, Outcome::Stack(_) | Outcome::Verdict(Verdict::Deliver)) => NEXT,
        (Hook::ToOverlay, Outcome::Verdict(_)) => NEXT,
        (_, Outcome::Verdict(_)) => REDIRECT,
    }
}

/// The ends whose counters grew since `before`, and by how much.
pub fn growth(stats: &Stats, before: &[Total]) -> Vec<Total> {
    let now = stats.totals().unwrap();
    let grown = now.iter().zip(before).filter(|(now, before)| now != before);
    grown.map(|(now, before)| Total { counter: minus(now.counter, before.counter), ..*now }).collect()
}

fn minus(now: Counter, before: Counter) -> Counter {
    Counter { packets: now.packets - before.packets, bytes: now.bytes - before.bytes }
}
