//! What the programs cost before they run: instructions, and stack.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use aya_obj::{Object, generated::bpf_insn};
use naru_bpf::object;

/// A line for each program: its name, its instructions with all it calls, its bytes of stack in the deepest chain of calls.
const BUDGET: &str = include_str!("budget.txt");
/// Instructions may grow by this part of what is committed.
const GROWTH: f64 = 0.05;
/// The kernel's limit for a chain of calls (`MAX_BPF_STACK`).
const STACK: u32 = 512;

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

/// The cost of every program in the object, on any kernel.
fn costs() -> BTreeMap<String, Cost> {
    let mut object = Object::parse(object().unwrap()).unwrap();
    let sections = object.functions.keys().map(|(section, _)| *section).collect();
    object.relocate_calls(&sections).unwrap();
    let programs = object.programs.iter();
    programs
        .map(|(name, program)| (name.clone(), cost(&object.functions[&program.function_key()].instructions)))
        .collect()
}

fn cost(code: &[bpf_insn]) -> Cost {
    let starts: BTreeSet<usize> = calls(code).map(|(_, target)| target).chain([0]).collect();
    Cost { instructions: u32::try_from(code.len()).unwrap(), stack: chain(code, &starts, 0) }
}

/// Where in `code` a function is called, and which.
fn calls(code: &[bpf_insn]) -> impl Iterator<Item = (usize, usize)> {
    let is_call = |at: &usize| (code[*at].code, code[*at].src_reg()) == CALL;
    let target =
        |at: usize| (at, usize::try_from(i64::try_from(at).unwrap() + 1 + i64::from(code[at].imm)).unwrap());
    (0..code.len()).filter(is_call).map(target)
}

/// Stack of the function that begins at `start` with the deepest of what it calls, each rounded up as older kernels do.
fn chain(code: &[bpf_insn], starts: &BTreeSet<usize>, start: usize) -> u32 {
    let end = starts.range(start + 1..).next().copied().unwrap_or(code.len());
    let called = calls(code).filter(|(at, _)| (start..end).contains(at));
    let deepest = called.map(|(_, target)| chain(code, starts, target)).max().unwrap_or(0);
    frame(&code[start..end]).max(1).next_multiple_of(32) + deepest
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

/// What is committed.
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
        assert!(cost.stack <= STACK, "{name}: {cost:?}");
        assert!(cost.stack <= budget[name].stack + 32, "{name}: {cost:?}; budget.txt would be\n{now}");
    }
}
