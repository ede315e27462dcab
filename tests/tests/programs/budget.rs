//! The cost of the programs before they run: instructions, and stack.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt::Write as _,
    os::fd::{AsFd, AsRawFd, RawFd},
};

use aya::maps::MapData;
use aya_obj::{Object, generated::bpf_insn};
use naru_abi::{maps, programs};
use naru_bpf::{link_judgement, object};

use crate::{
    node::{Node, add_policies},
    verifier,
};

/// A line for each program: its name, its instructions with all it calls, its bytes of stack in the deepest chain of
/// calls.
const BUDGET: &str = include_str!("budget.txt");
/// Share of the committed number by which instructions may grow.
const GROWTH: f64 = 0.05;
/// The kernel's limit for a chain of calls (`MAX_BPF_STACK`).
const STACK: u32 = 512;
/// Stack that must stay free for stages to come, in a program itself and in each function that it calls.
const RESERVE: u32 = 128;
/// The stack of each function is rounded up to this, or to 16 where the kernel compiles (6.9 and newer).
const ROUNDED: u32 = 32;

/// `BPF_JMP | BPF_CALL` with this source register calls a function of the program.
const CALL: (u8, u8) = (0x85, 1);
/// `BPF_ALU64 | BPF_MOV | BPF_X` and `BPF_ALU64 | BPF_ADD | BPF_K`: how an address in the stack is made.
const COPY: u8 = 0xbf;
const ADD: u8 = 0x07;
/// The frame pointer.
const FRAME: u8 = 10;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Cost {
    instructions: u32,
    stack: u32,
}

/// The instructions of every program with all that it calls, the judgement by policies too; maps by these descriptors,
/// where there are any.
fn programs_of(fds: &BTreeMap<String, RawFd>) -> BTreeMap<String, Vec<bpf_insn>> {
    let mut object = Object::parse(&link_judgement(object().unwrap()).unwrap()).unwrap();
    let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    let known = object.maps.clone();
    let with_fd = known.iter().filter_map(|(name, map)| Some((name.as_str(), *fds.get(name)?, map)));
    if !fds.is_empty() {
        object.relocate_maps(with_fd, &sections).unwrap();
    }
    object.relocate_calls(&sections).unwrap();
    let code = |program: &aya_obj::Program| object.functions[&program.function_key()].instructions.clone();
    object.programs.iter().map(|(name, program)| (name.clone(), code(program))).collect()
}

/// The cost of every program in the object, on any kernel.
fn costs() -> BTreeMap<String, Cost> {
    let all = programs_of(&BTreeMap::new()).into_iter();
    all.map(|(name, code)| (name, cost(&code))).collect()
}

fn cost(code: &[bpf_insn]) -> Cost {
    let starts = functions(code);
    let frames = starts.iter().map(|start| (*start, frame(&code[*start..end(code, &starts, *start)])));
    Cost { instructions: u32::try_from(code.len()).unwrap(), stack: chain(code, &frames.collect(), 0) }
}

/// Returns the indices at which the functions of a program begin, that of the program itself first.
fn functions(code: &[bpf_insn]) -> BTreeSet<usize> {
    calls(code).map(|(_, target)| target).chain([0]).collect()
}

/// Returns the index behind the function that begins at `start`.
fn end(code: &[bpf_insn], starts: &BTreeSet<usize>, start: usize) -> usize {
    starts.range(start + 1..).next().copied().unwrap_or(code.len())
}

/// Returns the calls in `code`: the index of each call, and that of the called function.
fn calls(code: &[bpf_insn]) -> impl Iterator<Item = (usize, usize)> {
    let is_call = |at: &usize| (code[*at].code, code[*at].src_reg()) == CALL;
    let target =
        |at: usize| (at, usize::try_from(i64::try_from(at).unwrap() + 1 + i64::from(code[at].imm)).unwrap());
    (0..code.len()).filter(is_call).map(target)
}

/// Returns the stack of the function that begins at `start` with its deepest chain of calls, each rounded up as older
/// kernels do; `frames` are the functions' own.
fn chain(code: &[bpf_insn], frames: &BTreeMap<usize, u32>, start: usize) -> u32 {
    let end = end(code, &frames.keys().copied().collect(), start);
    let called = calls(code).filter(|(at, _)| (start..end).contains(at));
    let deepest = called.map(|(_, target)| chain(code, frames, target)).max().unwrap_or(0);
    frames[&start].max(1).next_multiple_of(ROUNDED) + deepest
}

/// The lowest address below the frame pointer that a function names.
fn frame(code: &[bpf_insn]) -> u32 {
    let accessed = code
        .iter()
        .filter(|one| one.dst_reg() == FRAME || one.src_reg() == FRAME)
        .map(|one| i32::from(one.off));
    let made = code.windows(2).filter(|pair| {
        (pair[0].code, pair[0].src_reg(), pair[1].code) == (COPY, FRAME, ADD)
            && pair[0].dst_reg() == pair[1].dst_reg()
    });
    accessed.chain(made.map(|pair| pair[1].imm)).min().unwrap_or(0).unsigned_abs()
}

/// Reads the committed budget.
fn budget() -> BTreeMap<String, Cost> {
    let line = |line: &str| {
        let [name, instructions, stack] = line.split_ascii_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let cost = Cost { instructions: instructions.parse().unwrap(), stack: stack.parse().unwrap() };
        (name.to_owned(), cost)
    };
    BUDGET.lines().filter(|text| !text.starts_with('#')).map(line).collect()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn no_program_outgrows_its_budget_of_instructions_and_stack() {
    let (costs, budget) = (costs(), budget());
    let mut now = String::new();
    for (name, Cost { instructions, stack }) in &costs {
        writeln!(now, "{name} {instructions} {stack}").unwrap();
    }
    assert!(costs.keys().eq(budget.keys()), "budget.txt should be\n{now}");
    for (name, cost) in &costs {
        let most = f64::from(budget[name].instructions) * (1.0 + GROWTH);
        assert!(f64::from(cost.instructions) <= most, "{name}: {cost:?}; budget.txt would be\n{now}");
        assert!(cost.stack <= STACK - RESERVE, "{name}: {cost:?}");
        assert!(cost.stack <= budget[name].stack + 32, "{name}: {cost:?}; budget.txt would be\n{now}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_verifier_too_leaves_the_stages_to_come_a_quarter_of_every_programs_stack() {
    let node = Node::new();
    add_policies(&node.pins);
    let names = maps::ALL.into_iter().chain(maps::OF_POLICIES);
    let pin = |name: &str| (name.to_owned(), MapData::from_pin(node.pins.map(name)).unwrap());
    let pinned: Vec<_> = names.map(pin).collect();
    let fds = pinned.iter().map(|(name, map)| (name.clone(), map.fd().as_fd().as_raw_fd())).collect();
    let all = programs_of(&fds);
    assert!(all.keys().map(String::as_str).eq(BTreeSet::from(programs::ALL)));
    for (name, code) in all {
        let program = programs::ALL.into_iter().find(|program| *program == name).unwrap();
        let depths = verifier::stack_depths(&node, program);
        let starts = functions(&code);
        assert_eq!(depths.len(), starts.len(), "{name}: a depth for each function");
        let stack = chain(&code, &starts.into_iter().zip(depths).collect(), 0);
        assert!(stack <= STACK - RESERVE, "{name}: {stack} by the verifier");
        assert!(stack <= costs()[&name].stack, "{name}: {stack} by the verifier, less by the object");
    }
}
