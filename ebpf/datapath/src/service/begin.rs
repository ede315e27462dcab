//! A packet that may begin a flow to a Service.

use naru_abi::{BackendKey, ServiceKey, ServiceScratch, flow_state};
use naru_packet::protocol;

use super::{FOUND, OPENS, PLAIN};
use crate::maps::{
    services,
    translations::{self, LAG, follow},
};

/// Looks for the flow of `scratch.key`, or the Service to which it begins. A function of its own, for a stack of its
/// own.
#[inline(never)]
pub fn flow(scratch: &mut ServiceScratch) -> u32 {
    // Any datagram may begin a flow, and most go on with one: user space forgets those whose Service is gone.
    let is_udp = scratch.key.protocol == u32::from(protocol::UDP);
    if is_udp && follow(scratch, 0) {
        return if scratch.translation.state & flow_state::STACK == 0 { FOUND } else { PLAIN };
    }
    let key = &scratch.key;
    scratch.service.key =
        ServiceKey { address: key.destination, port: key.destination_port, protocol: key.protocol as u16 };
    if !services::load(&mut scratch.service) {
        return PLAIN;
    }
    if !is_udp && follow(scratch, 0) {
        if goes_on(scratch) {
            return FOUND;
        }
        translations::forget(scratch);
    }
    OPENS
}

/// Returns true if a SYN or INIT of a known flow is one more of it, not the first of another that reuses its port.
#[inline(always)]
fn goes_on(scratch: &mut ServiceScratch) -> bool {
    answers_of(scratch);
    let Some((answers, seen)) = translations::answer_state(&scratch.answers) else { return false };
    let flow = &scratch.translation;
    if translations::is_over(flow.state, answers) || answers & flow_state::DIRECT != 0 {
        return false;
    }
    // Repeated towards a backend that never answered, or that nobody has heard of for a while, it may go elsewhere if
    // that is gone.
    let is_quiet = answers & flow_state::SEEN == 0 || translations::now().wrapping_sub(seen) > 2 * LAG;
    let key = BackendKey { service: flow.service, slot: flow.slot };
    !is_quiet || services::is_backend(&key, &flow.backend, flow.backend_port)
}

/// Fills in the key of the answers to the flow of `scratch.translation`.
#[inline(always)]
pub fn answers_of(scratch: &mut ServiceScratch) {
    let (flow, answers) = (&scratch.translation, &mut scratch.answers);
    (answers.source, answers.source_port) = (flow.backend, flow.backend_port);
    (answers.destination, answers.destination_port) = (scratch.key.source, flow.client_port);
    answers.protocol = scratch.key.protocol;
}
