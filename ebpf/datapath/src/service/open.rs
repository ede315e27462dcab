//! A new flow to a Service: both of its entries, or none.

use aya_ebpf::helpers::bpf_get_prandom_u32;
use naru_abi::{Addr, ServiceScratch, flow_state, service_flags};
use naru_packet::protocol;

use super::{FOUND, PLAIN, begin::answers_of, choose};
use crate::maps::{
    flows, pods, services,
    translations::{self, Claim, claim, now},
};

/// How often another backend is chosen because the one that was is gone already.
const CHOICES: u32 = 3;
/// How many other ports are tried where a flow's own is in use towards a backend.
const PORTS: u32 = 4;
/// Those ports: above the ones that a pod's kernel gives out by itself (`ip_local_port_range`).
const FIRST_PORT: u32 = 61_000;
const LAST_PORT: u32 = 65_535;

/// Begins the flow of `scratch.key` to `scratch.service`. A function of its own, as in most flows one packet needs it.
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
    for _ in 0..CHOICES {
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
    }
    left(scratch)
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

/// Whether the programs can do this one: not a pod's way to itself, which only comes back if somebody else is its
/// sender, nor another port for SCTP, whose checksum covers that.
#[inline(always)]
fn suits(scratch: &ServiceScratch) -> bool {
    let is_self = scratch.backend.address == scratch.key.source;
    let is_sctp = scratch.key.protocol == u32::from(protocol::SCTP);
    !is_self && !(is_sctp && scratch.backend.port != scratch.key.destination_port)
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
    flow.client_port = scratch.key.source_port;
    let answer = &mut scratch.answer;
    (answer.service, answer.service_port) = (scratch.key.destination, scratch.key.destination_port);
    (answer.client_port, answer.state) = (scratch.key.source_port, 0);
    answer.last_used = scratch.translation.last_used;
    if !is_answered(scratch) {
        return false;
    }
    if translations::enter(scratch) {
        return true;
    }
    translations::forget_answers(scratch);
    false
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
    let is_free = !flows::contains(&scratch.answers)
        && translations::is_left_over(&scratch.answers, &scratch.key);
    if is_free && claim(scratch, true) == Claim::Made {
        return true;
    }
    if let Some(counters) = services::counters(scratch.service.id) {
        counters.clashes += 1;
    }
    if scratch.key.protocol == u32::from(protocol::SCTP) {
        return false;
    }
    for _ in 0..PORTS {
        // SAFETY: a number.
        let port = FIRST_PORT + unsafe { bpf_get_prandom_u32() } % (LAST_PORT - FIRST_PORT + 1);
        match with_port(scratch, port) {
            Claim::Made => return true,
            Claim::Full => return false,
            Claim::Taken => {}
        }
    }
    false
}

#[inline(always)]
fn with_port(scratch: &mut ServiceScratch, port: u32) -> Claim {
    scratch.translation.client_port = port as u16;
    answers_of(scratch);
    if flows::contains(&scratch.answers) { Claim::Taken } else { claim(scratch, false) }
}
