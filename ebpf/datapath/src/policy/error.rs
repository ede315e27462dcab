//! ICMP errors that the rules do not allow as they are: they pass as packets of the flow that they are about.
//!
//! Out of a pod that is not enough: it would send data to whomever the rules name, in quotes of packets that nobody has
//! sent. So the flow must be there, and what the error quotes is cut to the minimum. Towards a pod an error about no
//! flow of its own is nothing to it, and the flow may be one of which only the rules know, as where a pod routes.

use aya_ebpf::bindings::__sk_buff;
use naru_abi::Denied;
use naru_packet::{ETHERNET, protocol, shorten_error, shortest_error};

use super::{EGRESS, PASSES, rules, socket};
use crate::{
    maps::{policy_scratch as scratch, states},
    packet::Packet,
};

/// Judges the flow that an error is about, in the direction of the error; global, as [`super::judge`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn policy_about(skb: *mut __sk_buff) -> u32 {
    let Some(scratch) = scratch::taken() else { return Denied::Unknown as u32 };
    let end = rules::ask(skb, scratch, false);
    let is_out = scratch.direction == EGRESS;
    if end == PASSES && is_out && policy_has_flow(skb) == 0 { Denied::ByRules as u32 } else { end }
}

/// Returns 1 if the flow in the scratch space is there, whichever end opened it; global, as [`super::judge`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn policy_has_flow(skb: *mut __sk_buff) -> u32 {
    let Some(scratch) = scratch::taken() else { return 0 };
    let is_tcp = scratch.flow.protocol == u32::from(protocol::TCP);
    let is_there = states::has(scratch) || is_tcp && socket::opener(skb, scratch, 0) != socket::NONE;
    is_there.into()
}

/// Cuts what the error quotes to the minimum. Returns 0 if that cannot be done; global, as [`super::judge`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn policy_cut(skb: *mut __sk_buff) -> u32 {
    let Some(scratch) = scratch::taken() else { return 0 };
    let (ip, packet) = (scratch::header(scratch), &mut Packet::new(skb));
    let Some(end) = shortest_error(packet, ip) else { return 0 };
    if !packet.trim(end) {
        return 0;
    }
    let Some(difference) = shorten_error(packet, ip, end) else { return 0 };
    packet.sum_after(difference);
    scratch.length = end - ETHERNET as u32;
    1
}
