//! Services: what a pod sends to one goes on to a backend, as if the pod had sent it there; what the backend answers
//! gets the Service's address back when it is delivered to the pod.
//!
//! Both happen at the client's own end, first and last: in between the packet is one from pod to backend, both ways,
//! for routes, tunnel, sizes and the node's stack alike. So a backend may be anything that can be reached, and whatever
//! the stack has to do with such a packet it does without translating it.
//!
//! A flow begins with a packet that may begin one (a SYN, an INIT, a datagram). Any other packet to a Service without
//! an entry in `TRANSLATIONS` is the stack's, where kube-proxy's own flows are.
//!
//! The inline code here only calls functions one after the other, each of which has the rest of the stack to itself;
//! they pass each other what they found in the scratch space.

mod begin;
mod choose;
mod client;
mod error;
mod open;

use naru_abi::{Addr, DropReason, ServiceScratch, look};
use naru_packet::Ip;

use crate::{
    maps::{services, translations},
    packet::Packet,
};

/// Results of the functions of this stage: the packet is not to be translated,
const PLAIN: u32 = 0;
/// it belongs to the flow that the scratch space has now,
const FOUND: u32 = 1;
/// it is an error about that flow,
const ABOUT: u32 = 2;
/// it is an ICMP message, which may be one,
const MESSAGE: u32 = 3;
/// it may begin a flow,
const BEGINS: u32 = 4;
/// or it does so now.
const OPENS: u32 = 5;

/// Returns true if Services are looked up and their range holds this address.
#[inline(always)]
fn concerns(destination: &Addr) -> bool {
    let Some(state) = services::state() else { return false };
    state.on != 0 && services::may_be(destination)
}

/// Returns true if packets that a pod receives are looked up in `ANSWERS`; `receives` are bits of [`look`].
#[inline(always)]
pub fn is_client(receives: u32) -> bool {
    receives & look::SERVICES != 0
}

/// Translates what a pod sends to a Service: the packet, and its destination in `ip`. The same of a pod that has flows
/// to Services for what it sends straight to another; `sends` are bits of [`look`] of the pod.
#[inline(always)]
pub fn from_client(packet: &Packet, ip: &mut Ip, sends: u32) -> Result<(), DropReason> {
    let is_service = concerns(&ip.destination);
    if !is_service && sends & look::SERVICES == 0 {
        return Ok(());
    }
    let scratch = translations::scratch().ok_or(DropReason::HelperFailed)?;
    let found = match is_service {
        true => client_flow(packet, ip, scratch),
        false => direct_flow(packet, ip, scratch, sends),
    };
    let result = rewritten(packet, ip, scratch, found, false);
    if found != PLAIN {
        ip.destination = scratch.translation.backend;
    }
    translations::give_back(scratch);
    result
}

#[inline(always)]
fn direct_flow(packet: &Packet, ip: &Ip, scratch: &mut ServiceScratch, sends: u32) -> u32 {
    match client::find_direct(packet.raw(), ip, scratch, sends & look::CLASHES != 0) {
        BEGINS => open::beside(scratch),
        found => found,
    }
}

#[inline(always)]
fn client_flow(packet: &Packet, ip: &Ip, scratch: &mut ServiceScratch) -> u32 {
    match client::find_flow(packet.raw(), ip, scratch) {
        BEGINS => match begin::flow(scratch) {
            FOUND => FOUND,
            OPENS => match open::flow(scratch) {
                FOUND => FOUND,
                // Once more, where the backend went just then.
                OPENS if open::flow(scratch) == FOUND => FOUND,
                _ => PLAIN,
            },
            _ => PLAIN,
        },
        MESSAGE if error::find(packet.raw(), ip, &mut scratch.key) => error::flow(scratch),
        FOUND => FOUND,
        _ => PLAIN,
    }
}

/// Translates what a backend answers, just before it is delivered to the pod. Whether it was such an answer.
#[inline(always)]
pub fn to_client(packet: &Packet, ip: &Ip) -> Result<bool, DropReason> {
    let scratch = translations::scratch().ok_or(DropReason::HelperFailed)?;
    let found = match client::find_answer(packet.raw(), ip, scratch) {
        MESSAGE if error::find(packet.raw(), ip, &mut scratch.answers) => error::answer(scratch),
        FOUND => FOUND,
        _ => PLAIN,
    };
    let result = rewritten(packet, ip, scratch, found, true);
    translations::give_back(scratch);
    result.map(|()| found != PLAIN)
}

#[inline(always)]
fn rewritten(
    packet: &Packet,
    ip: &Ip,
    scratch: &ServiceScratch,
    found: u32,
    is_answer: bool,
) -> Result<(), DropReason> {
    let is_done = match found {
        FOUND => client::rewrite(packet.raw(), ip, scratch, is_answer),
        ABOUT => {
            let skb = packet.raw();
            error::rewrite_quote(skb, ip, scratch, is_answer) && error::rewrite(skb, ip, scratch, is_answer)
        }
        _ => true,
    };
    if is_done { Ok(()) } else { Err(DropReason::HelperFailed) }
}
