//! The two ends of a translation, both at the pod that addressed the Service. Each function here is one of its own, for
//! a stack of its own.

use aya_ebpf::bindings::__sk_buff;
use naru_abi::{FlowKey, ServiceScratch, flow_state};
use naru_packet::{
    End, Ip, Part, Payload, Translation, fragment_id, has_translatable_ports, protocol, step,
    step_flags::{ACCEPTS, OPENS},
    translate,
};

use super::{BEGINS, FOUND, MESSAGE, PLAIN};
use crate::{
    maps::translations::{self, follow, follow_answer},
    packet::Packet,
};

/// Looks for the flow of what a pod sends to a Service.
#[inline(never)]
pub fn find_flow(skb: *mut __sk_buff, ip: &Ip, scratch: &mut ServiceScratch) -> u32 {
    let packet = &Packet::new(skb);
    let payload = Payload::of_frame(packet, ip);
    if ip.extended || payload.part != Part::Whole {
        return PLAIN;
    }
    match payload.protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP => {}
        protocol::ICMP | protocol::ICMPV6 => return MESSAGE,
        _ => return PLAIN,
    }
    identify(packet, ip, payload, &mut scratch.key);
    match step(packet, payload) {
        step if step & OPENS != 0 => BEGINS,
        step if follow(scratch, step) && scratch.translation.state & flow_state::STACK == 0 => FOUND,
        _ => PLAIN,
    }
}

/// Looks for the flow of what a pod is about to receive.
#[inline(never)]
pub fn find_answer(skb: *mut __sk_buff, ip: &Ip, scratch: &mut ServiceScratch) -> u32 {
    let packet = &Packet::new(skb);
    let payload = Payload::of_frame(packet, ip);
    match payload.protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP => {}
        protocol::ICMP | protocol::ICMPV6 => return MESSAGE,
        _ => return PLAIN,
    }
    if payload.part != Part::Whole && !fragment(packet, ip, payload, scratch) {
        return PLAIN;
    }
    if payload.part == Part::Later {
        // It follows the first one, which has the ports.
        let Some(service) = translations::service_of_fragment(&scratch.fragment) else { return PLAIN };
        scratch.answer.service = *service;
        return FOUND;
    }
    identify(packet, ip, payload, &mut scratch.answers);
    let step = step(packet, payload);
    if !follow_answer(scratch, step & !(OPENS | ACCEPTS) | flow_state::SEEN) || is_direct(scratch, step) {
        return PLAIN;
    }
    if payload.part == Part::First {
        translations::remember_fragments(&scratch.fragment, &scratch.answer.service);
    }
    FOUND
}

/// Returns true if the supposed answer belongs to a connection straight to the pod with the same ports: the first
/// answer of a flow never has such a `step`. The flow's first packet, sent again, gets another port.
#[inline(always)]
fn is_direct(scratch: &ServiceScratch, step: u32) -> bool {
    let state = scratch.answer.state;
    if state & flow_state::DIRECT != 0 {
        return true;
    }
    let is_none = state & flow_state::SEEN == 0 && step & ACCEPTS == 0;
    if is_none {
        translations::leave_direct(&scratch.answers);
    }
    is_none
}

/// Looks for the flow of what a pod sends straight to another address. It is translated, by its port alone, if its
/// answers could not be told from those of a flow through a Service; `has_clashes` if that has happened.
#[inline(never)]
pub fn find_direct(skb: *mut __sk_buff, ip: &Ip, scratch: &mut ServiceScratch, has_clashes: bool) -> u32 {
    let packet = &Packet::new(skb);
    let payload = Payload::of_frame(packet, ip);
    if ip.extended || payload.part != Part::Whole || !has_translatable_ports(payload.protocol) {
        return PLAIN;
    }
    let step = step(packet, payload);
    if step & OPENS == 0 && !has_clashes {
        return PLAIN;
    }
    identify(packet, ip, payload, &mut scratch.key);
    if has_clashes && follow(scratch, step & !(OPENS | ACCEPTS)) {
        return FOUND;
    }
    if step & OPENS == 0 { PLAIN } else { BEGINS }
}

/// Translates the packet as the flow that was found says; whether that could be done.
#[inline(never)]
pub fn rewrite(skb: *mut __sk_buff, ip: &Ip, scratch: &ServiceScratch, is_answer: bool) -> bool {
    let packet = &mut Packet::new(skb);
    let payload = Payload::of_frame(packet, ip);
    translate(packet, ip, payload, &translation(scratch, is_answer)).is_ok()
}

/// Returns the translation of the flow that was found.
#[inline(always)]
pub fn translation(scratch: &ServiceScratch, is_answer: bool) -> Translation {
    let (flow, answer) = (&scratch.translation, &scratch.answer);
    if is_answer {
        Translation {
            end: End::Source,
            address: answer.service,
            source_port: answer.service_port,
            destination_port: answer.client_port,
        }
    } else {
        Translation {
            end: End::Destination,
            address: flow.backend,
            source_port: flow.client_port,
            destination_port: flow.backend_port,
        }
    }
}

/// Fills in by what the fragments of the packet are known.
#[inline(always)]
fn fragment(packet: &Packet, ip: &Ip, payload: Payload, scratch: &mut ServiceScratch) -> bool {
    let Some(id) = fragment_id(packet, ip) else { return false };
    let key = &mut scratch.fragment;
    (key.source, key.destination) = (ip.source, ip.destination);
    (key.id, key.protocol) = (id, payload.protocol.into());
    true
}

/// Fills in the flow of the packet.
#[inline(always)]
fn identify(packet: &Packet, ip: &Ip, payload: Payload, key: &mut FlowKey) {
    (key.source, key.destination) = (ip.source, ip.destination);
    (key.source_port, key.destination_port) = payload.ports(packet);
    key.protocol = payload.protocol.into();
}
