//! ICMP errors about translated packets, and the packets that they quote: a pod's about what a Service answered, which
//! goes to the backend and quotes what that has sent; and one of a backend, or of a router on the path, about what a
//! pod sent to a Service, which quotes what the pod has sent.

use aya_ebpf::bindings::__sk_buff;
use naru_abi::{Addr, FlowKey, ServiceScratch, flow_state};
use naru_packet::{Ip, Part, Payload, reported, translate_error, translate_quote};

use super::{ABOUT, PLAIN, client::translation};
use crate::{
    maps::translations::{follow, follow_answer},
    packet::Packet,
};

/// Fills in the flow that an error is about, in the error's direction; whether it is one. A function of its own, for a
/// stack of its own.
#[inline(never)]
pub fn find(skb: *mut __sk_buff, ip: &Ip, key: &mut FlowKey) -> bool {
    reported(&Packet::new(skb), ip, key).is_some()
}

/// Looks for the flow that a pod's error is about.
#[inline(never)]
pub fn flow(scratch: &mut ServiceScratch) -> u32 {
    let is_found = follow(scratch, 0) && scratch.translation.state & flow_state::STACK == 0;
    if is_found { ABOUT } else { PLAIN }
}

/// Looks for the flow that an error to a pod is about.
#[inline(never)]
pub fn answer(scratch: &mut ServiceScratch) -> u32 {
    if follow_answer(scratch, 0) { ABOUT } else { PLAIN }
}

/// Translates what the error quotes as the flow that was found says; whether that could be done. As [`find`].
#[inline(never)]
pub fn rewrite_quote(skb: *mut __sk_buff, ip: &Ip, scratch: &ServiceScratch, is_answer: bool) -> bool {
    let to = &translation(scratch, is_answer);
    translate_quote(&mut Packet::new(skb), ip, message(ip), peer(scratch, is_answer), to).is_ok()
}

/// Translates the error itself. As [`rewrite_quote`].
#[inline(never)]
pub fn rewrite(skb: *mut __sk_buff, ip: &Ip, scratch: &ServiceScratch, is_answer: bool) -> bool {
    let to = &translation(scratch, is_answer);
    translate_error(&mut Packet::new(skb), ip, message(ip), peer(scratch, is_answer), to).is_ok()
}

/// The address that is to be translated.
#[inline(always)]
const fn peer(scratch: &ServiceScratch, is_answer: bool) -> &Addr {
    if is_answer { &scratch.answers.source } else { &scratch.key.destination }
}

/// An error is one only in one piece.
#[inline(always)]
const fn message(ip: &Ip) -> Payload {
    Payload { protocol: ip.protocol, offset: ip.payload as usize, part: Part::Whole }
}
