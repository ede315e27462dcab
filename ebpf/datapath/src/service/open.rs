//! A new flow to a Service: both of its entries, or none.

use aya_ebpf::helpers::bpf_get_prandom_u32;
use naru_abi::{Addr, ServiceScratch, flow_state, service_flags};
use naru_packet::protocol;

use super::{FOUND, OPENS, PLAIN, begin::answers_of, choose};
use crate::maps::{
    flows, pods, services,
    translations::{self, Claim, claim, now},
};

/// Ports for flows whose own is in use towards a backend: above the ones that a pod's kernel gives out by itself
/// (`ip_local_port_range`).
const FIRST_PORT: u32 = 61_000;
const LAST_PORT: u32 = 65_535;

/// Begins the flow of `scratch.key` to `scratch.service`; answers [`OPENS`] where the backend that was chosen went just
/// then, and another one is to be. Nothing here is a loop: up to 6.1 the kernel refuses one that ends with a call. A
/// function of its own, as in most flows one packet needs it.
#[inline(never)]
pub fn flow(scratch: &mut ServiceScratch) -> u32 {
    let now = now();
    let is_fresh = services::state().is_some_and(|state| now < state.fresh_until);
    if !is_fresh || scratch.service.flags & service_flags::STACK != 0 {
        return left(scratch);
    }
    scratch.translation.last_used = now;
    scratch.translation.state = 0;
    if scratch.service.flags & service_flags::LEARN != 0 {
        return stacked(scratch);
    }
    if !choose::backend(scratch, now) || !suits(scratch) {
        return stacked(scratch);
    }
    if !enter(scratch) {
        return left(scratch);
    }
    // User space first gives a backend's slot up, then forgets the flows to it: it finds this one, or we find that.
    if choose::is_still(scratch) {
        return done(scratch, now);
    }
    translations::forget(scratch);
    OPENS
}

#[inline(always)]
fn done(scratch: &mut ServiceScratch, now: u64) -> u32 {
    if !pods::mark_client(&scratch.key.source) {
        // Whoever is no pod would not find what it is answered.
        translations::forget(scratch);
        return left(scratch);
    }
    if scratch.service.affinity != 0 {
        choose::stay(scratch, now);
    }
    if let Some(counters) = services::counters(scratch.service.id) {
        counters.translated += 1;
    }
    FOUND
}

/// Returns true if the programs can translate this flow: not one from a pod to itself, which only comes back if
/// somebody else is its sender, nor one of SCTP that needs another port, which the checksum covers.
#[inline(always)]
fn suits(scratch: &ServiceScratch) -> bool {
    let is_self = scratch.backend.address == scratch.key.source;
    let is_sctp = scratch.key.protocol == u32::from(protocol::SCTP);
    let needs_port = scratch.backend.port != scratch.key.destination_port;
    !(is_self || is_sctp && needs_port)
}

/// Leaves the flow to the stack, and counts it.
#[inline(always)]
fn left(scratch: &ServiceScratch) -> u32 {
    if let Some(counters) = services::counters(scratch.service.id) {
        counters.stack += 1;
    }
    PLAIN
}

/// The same; what has no first packet to be known by is remembered, or a later one would go to a backend of its own.
#[inline(always)]
fn stacked(scratch: &mut ServiceScratch) -> u32 {
    if scratch.key.protocol == u32::from(protocol::UDP) {
        scratch.translation.state = flow_state::STACK;
        scratch.translation.backend = Addr::UNSPECIFIED;
        (scratch.translation.backend_port, scratch.translation.client_port) = (0, 0);
        (scratch.translation.service, scratch.translation.slot) = (scratch.service.id, 0);
        translations::enter(scratch);
    }
    left(scratch)
}

/// Enters the flow to `scratch.backend`, both ways.
#[inline(always)]
fn enter(scratch: &mut ServiceScratch) -> bool {
    let flow = &mut scratch.translation;
    (flow.backend, flow.backend_port) = (scratch.backend.address, scratch.backend.port);
    (flow.service, flow.slot) = (scratch.backend.key.service, scratch.backend.key.slot);
    prepare_answer(scratch);
    is_answered(scratch) && complete(scratch)
}

/// Fills in the answers' entry, but for the key.
#[inline(always)]
fn prepare_answer(scratch: &mut ServiceScratch) {
    let answer = &mut scratch.answer;
    (answer.service, answer.service_port) = (scratch.key.destination, scratch.key.destination_port);
    (answer.client_port, answer.state) = (scratch.key.source_port, 0);
    answer.last_used = scratch.translation.last_used;
}

/// Enters the flow, whose answers are entered; whether there was room.
#[inline(always)]
fn complete(scratch: &mut ServiceScratch) -> bool {
    if translations::enter(scratch) {
        return true;
    }
    translations::forget_answers(scratch);
    false
}

/// Begins the flow of `scratch.key`, straight to a pod, if its answers could not be told from those of a flow through a
/// Service: then the pod sees another port. A function of its own, for a stack of its own.
#[inline(never)]
pub fn beside(scratch: &mut ServiceScratch) -> u32 {
    let (key, flow) = (&scratch.key, &mut scratch.translation);
    (flow.backend, flow.backend_port) = (key.destination, key.destination_port);
    (flow.client_port, flow.state, flow.service, flow.slot) = (key.source_port, 0, 0, 0);
    answers_of(scratch);
    let is_alone = match translations::answer_state(&scratch.answers) {
        Some((state, _)) if state & flow_state::DIRECT == 0 => {
            translations::is_left_over(&scratch.answers, &scratch.key)
        }
        _ => true,
    };
    if is_alone {
        return PLAIN;
    }
    scratch.translation.last_used = now();
    prepare_answer(scratch);
    if !has_other_port(scratch) || !complete(scratch) {
        return PLAIN;
    }
    if !pods::mark_clashes(&scratch.key.source) {
        translations::forget(scratch);
        return PLAIN;
    }
    FOUND
}

/// Enters the answers of the flow, whose backend sees another port where the client's own is in use towards it: through
/// another Service, or by a flow that the stack translates. Whether there is room.
#[inline(always)]
fn is_answered(scratch: &mut ServiceScratch) -> bool {
    match with_port(scratch, scratch.key.source_port.into()) {
        Claim::Made => return true,
        Claim::Full => return false,
        Claim::Taken => {}
    }
    let is_free =
        !flows::contains(&scratch.answers) && translations::is_left_over(&scratch.answers, &scratch.key);
    if is_free && claim(scratch, true) == Claim::Made {
        return true;
    }
    if let Some(counters) = services::counters(scratch.service.id) {
        counters.clashes += 1;
    }
    scratch.key.protocol != u32::from(protocol::SCTP) && has_other_port(scratch)
}

/// Enters the answers of the flow with a port that is not in use towards its backend. Of so many three are not in use
/// by chance alone.
#[inline(always)]
fn has_other_port(scratch: &mut ServiceScratch) -> bool {
    other_port(scratch) || other_port(scratch) || other_port(scratch)
}

#[inline(always)]
fn other_port(scratch: &mut ServiceScratch) -> bool {
    // SAFETY: a number.
    let chance = unsafe { bpf_get_prandom_u32() };
    with_port(scratch, FIRST_PORT + chance % (LAST_PORT - FIRST_PORT + 1)) == Claim::Made
}

/// A function of its own, as it is called several times.
#[inline(never)]
fn with_port(scratch: &mut ServiceScratch, port: u32) -> Claim {
    scratch.translation.client_port = port as u16;
    answers_of(scratch);
    if flows::contains(&scratch.answers) { Claim::Taken } else { claim(scratch, false) }
}
