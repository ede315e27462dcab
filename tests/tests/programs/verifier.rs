//! Figures that the kernel's verifier reports about a program.

use naru_bpf::verifier_figures;

use crate::node::{Node, SIZES};

/// Beginning of the verifier's line about stacks: those of the functions in their order, with `+` between them.
const DEPTHS: &str = "stack depth ";

/// Bytes of stack of each function of the program, which must load.
pub fn stack_depths(node: &Node, program: &'static str) -> Vec<u32> {
    let text = verifier_figures(&node.pins, SIZES, program).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(DEPTHS)).unwrap_or_else(|| panic!("{text}"));
    // Newer kernels add the largest chain of calls behind.
    let depths = line.split([' ', '\0']).next().unwrap_or_default();
    depths.split('+').map(|depth| depth.parse().unwrap()).collect()
}
