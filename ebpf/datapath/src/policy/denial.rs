//! Records of what did not pass.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use naru_abi::{DenialKey, PolicyScratch};

use super::{EGRESS, rules::has_ports};
use crate::maps::policies;

/// Records that the packet did not pass for a [`naru_abi::Denied`] by number. A function of its own, for a stack of its
/// own.
#[inline(never)]
pub fn record(scratch: &mut PolicyScratch, reason: u32) {
    let flow = &scratch.flow;
    scratch.denial = DenialKey {
        peer: if scratch.direction == EGRESS { flow.destination } else { flow.source },
        ifindex: scratch.ifindex,
        port: if has_ports(flow.protocol) { flow.destination_port } else { 0 },
        protocol: flow.protocol as u8,
        direction: scratch.direction as u8,
    };
    let denied = &mut scratch.denied;
    denied.packets = 1;
    // SAFETY: reads a clock.
    denied.last = unsafe { bpf_ktime_get_ns() };
    (denied.subject, denied.rule, denied.reason) = (scratch.subject, scratch.rule, reason);
    policies::deny(scratch);
}
