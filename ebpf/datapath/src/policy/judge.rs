//! The judgement of one packet.
//!
//! The rules come first, so that a revoked one cuts at once. Then comes `STATES`, and behind that, of TCP, the pod's
//! own socket, which nobody can push out. Whoever sends the first packet has opened a connection; of TCP, the first
//! SYN. Nothing else is concluded from a packet's flags.
//!
//! [`policy_judge`] only calls functions one after the other, each of which has the rest of the stack to itself; they
//! hand each other what they found in the scratch space.

use aya_ebpf::bindings::__sk_buff;
use naru_abi::{Denied, PolicyScratch, Stage, pod_flags, state_flags};
use naru_packet::{Ip, protocol};

use super::{
    EGRESS, INGRESS, PASSES, answer, denial, error,
    question::{self, Kind},
    rules, socket,
};
use crate::maps::{policy_scratch as scratch, states, verdicts};

/// Judges a packet of the pod in the scratch space, or to it.
///
/// This function and those of its kind are global: the verifier looks at each of them once, whatever it knows about the
/// program that calls it, where it would go through the loops over rules some hundred times. So they take numbers and
/// the context, and find the rest in the scratch space.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn policy_judge(skb: *mut __sk_buff) -> u32 {
    let Some(scratch) = scratch::taken() else { return Denied::Unknown as u32 };
    let ip = scratch::header(scratch);
    let kind = question::read(skb, ip, scratch);
    let kind = hidden(scratch, kind);
    verdicts::begin(scratch);
    if goes_on(scratch, kind) && verdicts::has_passed(scratch) {
        return PASSES;
    }
    let end = match kind {
        Kind::LATER => later_fragment(scratch),
        Kind::HIDDEN if is_judged(scratch.flags, scratch.direction) => Denied::Fragment as u32,
        Kind::HIDDEN | Kind::NEIGHBOUR => PASSES,
        _ => by_rules(skb, ip, scratch, kind),
    };
    let end = hidden(scratch, end);
    if end != PASSES {
        denial::record(scratch, end);
    } else if kind & Kind::FIRST != 0 && scratch.direction == EGRESS {
        question::pass_fragments(scratch);
    } else if scratch.stage != Stage::Service as u32 {
        remember(scratch, kind);
    }
    end
}

/// Returns true for packets of which many follow that fare alike: those that go on with a connection of TCP, and whole
/// datagrams. What the node's own processes send, nothing forbids.
#[inline(always)]
const fn goes_on(scratch: &PolicyScratch, kind: u32) -> bool {
    let is_udp = scratch.flow.protocol == protocol::UDP as u32;
    scratch.is_by_node == 0 && (is_tcp(scratch) && kind == 0 || is_udp && kind == Kind::OPENS)
}

#[inline(always)]
const fn is_tcp(scratch: &PolicyScratch) -> bool {
    scratch.flow.protocol == protocol::TCP as u32
}

/// Remembers that the packet passed, for those that follow; where it opens a connection of TCP, also that it may be
/// answered.
#[inline(always)]
fn remember(scratch: &PolicyScratch, kind: u32) {
    let begins = scratch.is_by_node == 0 && is_tcp(scratch) && kind == Kind::OPENS;
    if begins || goes_on(scratch, kind) {
        verdicts::remember(scratch, false);
    }
    if begins && is_judged(scratch.flags, 1 - scratch.direction) {
        verdicts::remember(scratch, true);
    }
}

/// The same number, of which the verifier does not know that it is one of few: it would go on with each of them apart,
/// and through every loop behind.
#[inline(always)]
pub fn hidden(scratch: &mut PolicyScratch, result: u32) -> u32 {
    let place = &raw mut scratch.result;
    // SAFETY: a word of the scratch space, which is this program's.
    unsafe {
        place.write_volatile(result);
        place.read_volatile()
    }
}

/// Returns true if the pod is isolated in that direction.
#[inline(always)]
pub const fn is_judged(flags: u32, direction: u32) -> bool {
    let bit = if direction == EGRESS { pod_flags::JUDGE_EGRESS } else { pod_flags::JUDGE_INGRESS };
    flags & bit != 0
}

/// Towards a pod nothing is put together without the first one, which is judged. Out of a pod it would be: by anybody.
#[inline(always)]
fn later_fragment(scratch: &PolicyScratch) -> u32 {
    let is_free = scratch.direction == INGRESS || !is_judged(scratch.flags, EGRESS);
    if is_free || question::passes_fragment(scratch) { PASSES } else { Denied::Fragment as u32 }
}

#[inline(always)]
fn by_rules(skb: *mut __sk_buff, ip: &Ip, scratch: &mut PolicyScratch, kind: u32) -> u32 {
    if scratch.direction == EGRESS && scratch.stage == Stage::Sent as u32 && question::is_service(scratch) {
        scratch.stage = Stage::Service as u32;
        return PASSES;
    }
    let is_free = scratch.is_by_node != 0 || !is_judged(scratch.flags, scratch.direction);
    let end = if is_free { PASSES } else { rules::ask(skb, scratch, false) };
    let end = hidden(scratch, end);
    if end == PASSES {
        return if kind & Kind::OPENS == 0 { PASSES } else { opens(skb, scratch) };
    }
    if kind & Kind::ERROR != 0 {
        let is_reported = question::reported(skb, ip, scratch) && scratch.flow.destination == ip.destination;
        return if is_reported { by_flow(skb, scratch) } else { end };
    }
    if !answer::is_one(skb, scratch) {
        return end;
    }
    scratch.is_answer = 1;
    PASSES
}

/// Judges an ICMP error by the flow that it is about, which is in the scratch space now.
#[inline(always)]
fn by_flow(skb: *mut __sk_buff, scratch: &mut PolicyScratch) -> u32 {
    let end = error::policy_about(skb);
    let end = hidden(scratch, end);
    if end != PASSES && !answer::is_one(skb, scratch) {
        return end;
    }
    if scratch.direction == EGRESS && error::policy_cut(skb) == 0 {
        return Denied::ByRules as u32;
    }
    scratch.is_answer = 1;
    PASSES
}

/// Remembers the connection that a packet opens which may pass, unless it answers one itself.
#[inline(always)]
fn opens(skb: *mut __sk_buff, scratch: &mut PolicyScratch) -> u32 {
    if scratch.direction == EGRESS && scratch.stage == Stage::Masqueraded as u32 {
        return PASSES;
    }
    let is_tcp = is_tcp(scratch);
    let others = 1 - scratch.direction;
    if is_tcp && !is_judged(scratch.flags, others) {
        return PASSES;
    }
    if !is_tcp && answer::is_known(scratch) {
        return PASSES;
    }
    let by_node = if scratch.is_by_node == 0 { 0 } else { state_flags::NODE };
    let is_entered = states::enter(false, by_node | if is_tcp { state_flags::TCP } else { 0 });
    let is_entered = hidden(scratch, is_entered.into()) != 0;
    if is_tcp && scratch.direction == EGRESS {
        socket::opener(skb, scratch, 0);
    }
    let needs_none = is_entered || is_tcp || by_node != 0 || !is_judged(scratch.flags, others);
    if needs_none || rules::ask(skb, scratch, true) == PASSES { PASSES } else { Denied::Full as u32 }
}
