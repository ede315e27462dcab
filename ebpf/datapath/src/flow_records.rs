//! Symmetry: where the stack rewrites an address of a flow (kube-proxy, hostPort), it must see the answers too.
//!
//! A packet that comes out of the stack to a pod, or to a remote node from a pod, is recorded if the answer to it would
//! take the fast path, which would not restore the address. What the pod itself sent there, and only went by the stack
//! because the fast path does not take it, has not been rewritten and leaves no record ([`Packet::is_as_sent`]).

use aya_ebpf::bindings::__sk_buff;
use naru_abi::{Addr, DropReason, FlowKey, PodValue, pod_flags};
use naru_packet::{Ip, answered, answering, protocol, reported};

use crate::{
    maps::{
        flows::{Entry, insert, touch},
        pods, routes,
    },
    packet::Packet,
    tunnel::arrival::is_remote,
};

/// Whether the packet belongs to a recorded flow, or is an ICMP error about one: then the stack must see it.
#[inline(always)]
pub fn is_recorded(packet: &Packet, ip: &Ip) -> bool {
    let (skb, base) = (packet.raw(), packet.base());
    is_answer(skb, base, ip) || is_icmp(ip.protocol) && is_error(skb, base, ip)
}

#[inline(always)]
fn is_icmp(protocol: u8) -> bool {
    matches!(protocol, protocol::ICMP | protocol::ICMPV6)
}

/// A function of its own, for a stack of its own.
#[inline(never)]
fn is_answer(skb: *mut __sk_buff, base: usize, ip: &Ip) -> bool {
    let packet = &Packet::new(skb).inner(base);
    touch(&answering(packet, ip)) != Entry::Absent
}

/// As [`is_answer`].
#[inline(never)]
fn is_error(skb: *mut __sk_buff, base: usize, ip: &Ip) -> bool {
    let packet = &Packet::new(skb).inner(base);
    let mut key = FlowKey::NONE;
    reported(packet, ip, &mut key).is_some() && touch(&key) != Entry::Absent
}

/// The stack sends the packet to a pod of this node, `pod` where it is known by this address.
#[inline(always)]
pub fn came_to_pod(packet: &Packet, ip: &Ip, pod: Option<&PodValue>) -> Result<(), DropReason> {
    if packet.is_as_sent() || pod.is_some_and(takes_stack) {
        return Ok(());
    }
    let would_miss_stack = match pods::get(&ip.source) {
        Some(sender) => !takes_stack(sender),
        None => routes::get(&ip.source).is_some_and(|route| is_remote(route.kind)),
    };
    if !would_miss_stack {
        return Ok(());
    }
    remember(packet, ip)?;
    if let Some(pod) = pod {
        mark(&ip.destination, pod, pod_flags::SENDS_ANSWERS);
    }
    Ok(())
}

/// The stack sends the packet to a remote node or one of its pods.
#[inline(always)]
pub fn leaves_node(packet: &Packet, ip: &Ip) -> Result<(), DropReason> {
    if packet.is_as_sent() {
        return Ok(());
    }
    match pods::get(&ip.source) {
        Some(sender) if !takes_stack(sender) => {
            remember(packet, ip)?;
            mark(&ip.source, sender, pod_flags::RECEIVES_ANSWERS);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Makes packets of the pod be looked for from now on. After the entry is there: user space, which looks for entries also
/// when it has made the pod's value again, misses none.
#[inline(always)]
fn mark(addr: &Addr, pod: &PodValue, flag: u32) {
    if pod.flags & flag == 0 {
        pods::note_flows(addr, flag);
    }
}

/// Whether all that the pod sends and receives takes the stack anyway.
#[inline(always)]
fn takes_stack(pod: &PodValue) -> bool {
    pod.flags & pod_flags::NO_SHORTCUT != 0
}

/// Remembers the packets that answer this one.
#[inline(always)]
fn remember(packet: &Packet, ip: &Ip) -> Result<(), DropReason> {
    if record(packet.raw(), ip) { Ok(()) } else { Err(DropReason::FlowTableFull) }
}

/// Whether that could be done. As [`is_answer`].
#[inline(never)]
fn record(skb: *mut __sk_buff, ip: &Ip) -> bool {
    let packet = &Packet::new(skb);
    let Some(mut answers) = answered(packet, ip) else { return true };
    let found = touch(&answers);
    if found == Entry::Current {
        return true;
    }
    if found == Entry::Absent && answers.has_ports() && !insert(&answers) {
        return false;
    }
    // User space may have taken the entry for fragments for an orphan just when this flow came.
    answers.strip_ports();
    insert(&answers)
}
