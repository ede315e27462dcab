//! Symmetry: where the stack rewrites an address of a flow (kube-proxy, hostPort), it must see the answers too.
//!
//! A packet that comes out of the stack to a pod, or from a pod to a remote node, is recorded if its answer would take
//! the fast path, which would not restore the address. Packets that a pod sent there itself, and that went by the stack
//! only because the fast path does not take them, have not been rewritten and leave no record ([`Packet::is_as_sent`]).

use aya_ebpf::bindings::__sk_buff;
use naru_abi::{DropReason, FlowKey, look, pod_flags};
use naru_packet::{Ip, answered, answering, protocol, reported};

use crate::{
    maps::{
        flow_pairs,
        flows::{self, Entry},
        pods::{self, Pod},
        routes,
    },
    packet::Packet,
};

/// Returns true if the packet belongs to a recorded flow or is an ICMP error about one, which the stack must see.
/// `maps` are the maps to look in, bits of [`look`].
#[inline(always)]
pub fn is_recorded(packet: &Packet, ip: &Ip, maps: u32) -> bool {
    let (skb, base) = (packet.raw(), packet.base());
    is_answer(skb, base, ip, maps) || is_icmp(ip.protocol) && is_error(skb, base, ip, maps)
}

#[inline(always)]
fn is_icmp(protocol: u8) -> bool {
    matches!(protocol, protocol::ICMP | protocol::ICMPV6)
}

/// A function of its own, for a stack of its own.
#[inline(never)]
fn is_answer(skb: *mut __sk_buff, base: usize, ip: &Ip, maps: u32) -> bool {
    let packet = &Packet::new(skb).inner(base);
    is_known(&mut answering(packet, ip), maps)
}

/// As [`is_answer`].
#[inline(never)]
fn is_error(skb: *mut __sk_buff, base: usize, ip: &Ip, maps: u32) -> bool {
    let packet = &Packet::new(skb).inner(base);
    let mut key = FlowKey::NONE;
    reported(packet, ip, &mut key).is_some() && is_known(&mut key, maps)
}

/// Returns true if there is a record of the flow or of its hosts.
#[inline(always)]
fn is_known(key: &mut FlowKey, maps: u32) -> bool {
    if flows::touch(key) != Entry::Absent {
        return true;
    }
    if maps & look::PAIRS == 0 {
        return false;
    }
    key.strip_ports();
    flow_pairs::touch(key)
}

/// Records a flow that the stack sends to a pod of this node; `pod` is its entry if it has one by this address. If the
/// entry is just being reused for another pod, this pod or the sender is gone, and nobody waits for the answer.
#[inline(always)]
pub fn came_to_pod(packet: &Packet, ip: &Ip, pod: Option<Pod>) -> Result<(), DropReason> {
    if packet.is_as_sent() || pod.is_some_and(|pod| takes_stack(pod.flags())) {
        return Ok(());
    }
    let would_miss_stack = match pods::get(&ip.source) {
        Some(sender) => !takes_stack(sender.flags()),
        None => routes::get(&ip.source).is_some_and(naru_abi::RouteValue::is_remote),
    };
    if !would_miss_stack {
        return Ok(());
    }
    if remember(packet, ip)? == Noted::Now && pod.is_some() {
        pods::mark_sender(&ip.destination);
    }
    Ok(())
}

/// Records a flow that the stack sends to a remote node or one of its pods.
#[inline(always)]
pub fn leaves_node(packet: &Packet, ip: &Ip) -> Result<(), DropReason> {
    if packet.is_as_sent() {
        return Ok(());
    }
    match pods::get(&ip.source) {
        Some(sender) if !takes_stack(sender.flags()) => {
            if remember(packet, ip)? == Noted::Now {
                pods::mark_receiver(&ip.source);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Returns true if all packets of a pod with these flags take the stack anyway.
#[inline(always)]
fn takes_stack(flags: u32) -> bool {
    flags & pod_flags::NO_SHORTCUT != 0
}

/// The result of writing a record.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
enum Noted {
    /// It was there, and up to date.
    Before,
    /// It was made or renewed. The pod is marked after that: user space, which looks for records when it has written
    /// a pod's entry again, misses none.
    Now,
    /// There was no room for the flow, but for its hosts.
    AsPair,
    /// There was no room.
    Refused,
}

/// Records the packets that answer this one.
#[inline(always)]
fn remember(packet: &Packet, ip: &Ip) -> Result<Noted, DropReason> {
    match record(packet.raw(), ip) {
        Noted::Refused => Err(DropReason::FlowTableFull),
        Noted::AsPair => {
            pods::mark_in_pairs(&ip.source);
            pods::mark_in_pairs(&ip.destination);
            Ok(Noted::AsPair)
        }
        noted => Ok(noted),
    }
}

/// As [`is_answer`].
#[inline(never)]
fn record(skb: *mut __sk_buff, ip: &Ip) -> Noted {
    let packet = &Packet::new(skb);
    let Some(mut answers) = answered(packet, ip) else { return Noted::Before };
    let found = flows::touch(&answers);
    if found == Entry::Current {
        return Noted::Before;
    }
    let is_new = found == Entry::Absent && answers.has_ports();
    if is_new && !flows::insert(&answers) {
        answers.strip_ports();
        return as_pair(&mut answers);
    }
    // User space may have taken the entry for fragments for an orphan at the moment this flow came.
    let (source_port, destination_port) = (answers.source_port, answers.destination_port);
    answers.strip_ports();
    if flows::insert(&answers) || found == Entry::Renewed {
        return Noted::Now;
    }
    // Half a record is worse than none: the flow's next packet would pass, and fragments of its answers would miss the
    // stack.
    if is_new {
        (answers.source_port, answers.destination_port) = (source_port, destination_port);
        flows::remove(&answers);
        answers.strip_ports();
    }
    as_pair(&mut answers)
}

/// Records all packets between the two hosts of the key, which has no ports: so a flow without room is not refused, and
/// no other flow, which may only be idle, is forgotten for it.
#[inline(always)]
fn as_pair(answers: &mut FlowKey) -> Noted {
    if flow_pairs::insert(answers) { Noted::AsPair } else { Noted::Refused }
}
