//! Verdicts of a moment ago: most packets are one more of a flow that passes. A look-up of peers, rules, hits and
//! connections takes several times as long.
//!
//! They are void as soon as user space changes a table, which it says by another number in `POLICY_EPOCH` afterwards,
//! and a moment after they were made in any case: connections end without a change of tables. A pod whose rights change
//! has another subject.
//!
//! Only who has the scratch space of judgements on its CPU uses them.

use aya_ebpf::{
    btf_maps::{Array, PerCpuArray},
    helpers::bpf_jiffies64,
    macros::btf_map,
};
use naru_abi::{Addr, MAX_VERDICTS, PolicyScratch, RuleHits, VerdictValue, pod_flags};

use super::policies;

#[btf_map]
static VERDICTS: PerCpuArray<VerdictValue, { MAX_VERDICTS as usize }> = PerCpuArray::new();

#[btf_map]
static POLICY_EPOCH: Array<u64, 1> = Array::new();

/// Lifetime in jiffies: a quarter of a second at 100 Hz, less at higher rates.
const FRESH: u64 = 25;

/// Notes the epoch by which the tables are about to be asked.
#[inline(always)]
pub fn begin(scratch: &mut PolicyScratch) {
    scratch.epoch = POLICY_EPOCH.get(0).copied().unwrap_or_default();
}

/// Returns true if a packet of this flow passed a moment ago, by the same tables; this one counts as it did. A function
/// of its own, for a stack of its own.
#[inline(never)]
pub fn has_passed(scratch: &mut PolicyScratch) -> bool {
    let Some(known) = place(scratch, false) else { return false };
    let is_same = known.epoch == scratch.epoch
        && now().wrapping_sub(known.asked) < FRESH
        && known.flow == scratch.flow
        && known.ifindex == scratch.ifindex
        && known.subject == scratch.subject
        && known.judged == scratch.flags & pod_flags::OF_POLICIES
        && known.direction == scratch.direction;
    if is_same {
        known.hits.packets += 1;
        known.hits.bytes += u64::from(scratch.length);
        scratch.is_answer = known.is_answer;
    }
    is_same
}

/// Remembers that the packet passed, or that its answers would (`is_answer`). A function of its own, as the other.
#[inline(never)]
pub fn remember(scratch: &PolicyScratch, is_answer: bool) {
    let Some(place) = place(scratch, is_answer) else { return };
    if place.rule != 0 && place.hits.packets != 0 {
        policies::hit(place.rule, place.hits);
    }
    let flow = &scratch.flow;
    if is_answer {
        (place.flow.source, place.flow.destination) = (flow.destination, flow.source);
        (place.flow.source_port, place.flow.destination_port) = (flow.destination_port, flow.source_port);
        (place.direction, place.rule, place.is_answer) = (1 - scratch.direction, 0, 1);
    } else {
        (place.flow.source, place.flow.destination) = (flow.source, flow.destination);
        (place.flow.source_port, place.flow.destination_port) = (flow.source_port, flow.destination_port);
        (place.direction, place.rule) = (scratch.direction, scratch.rule);
        place.is_answer = scratch.is_answer;
    }
    place.flow.protocol = flow.protocol;
    (place.ifindex, place.subject) = (scratch.ifindex, scratch.subject);
    place.judged = scratch.flags & pod_flags::OF_POLICIES;
    (place.asked, place.epoch) = (now(), scratch.epoch);
    place.hits = RuleHits { packets: 0, bytes: 0 };
}

/// The place on this CPU of the flow, or of its answers, whatever is in it.
#[inline(always)]
fn place(scratch: &PolicyScratch, is_answer: bool) -> Option<&'static mut VerdictValue> {
    const FACTOR: u32 = 0x9e37_79b1;
    let flow = &scratch.flow;
    let fold = |addr: &Addr| addr.as_words().iter().fold(0, |all, word| all ^ word);
    let (from, to) = (fold(&flow.source), fold(&flow.destination));
    let (port, other) = (u32::from(flow.source_port), u32::from(flow.destination_port));
    let (from, to, ports) =
        if is_answer { (to, from, other << 16 | port) } else { (from, to, port << 16 | other) };
    // Either end, and either direction of a flow, has a place of its own.
    let mixed = from.rotate_left(3) ^ to ^ scratch.ifindex.rotate_left(9);
    let place = (mixed.wrapping_mul(FACTOR) ^ ports).wrapping_mul(FACTOR) >> (32 - MAX_VERDICTS.ilog2());
    // SAFETY: this CPU's own entry, and of several programs on it the scratch space's mark leaves it to one.
    VERDICTS.get_ptr_mut(place).map(|value| unsafe { &mut *value })
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: a number.
    unsafe { bpf_jiffies64() }
}
