//! Symmetry: where the stack rewrites an address of a flow (kube-proxy, hostPort), it must see the answers too.
//!
//! A packet that comes out of the stack to a pod, or to a remote node from a pod, is recorded if the answer to it would
//! take the fast path, which would not restore the address. What the pod itself sent there, and only went by the stack
//! because the fast path does not take it, has not been rewritten and leaves no record ([`Packet::is_as_sent`]).

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_NO_PREALLOC},
    btf_maps::HashMap,
    helpers::bpf_ktime_get_ns,
    macros::btf_map,
};
use naru_abi::{Addr, DropReason, FlowKey, FlowValue, MAX_FLOWS, PodValue, pod_flags};
use naru_packet::{Ip, answered, answering, protocol, reported};

use crate::{arrival::is_remote, packet::Packet, pods, routes};

#[btf_map]
static FLOWS: HashMap<FlowKey, FlowValue, { MAX_FLOWS as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// How far `last_seen` may lag behind, in nanoseconds: a flow writes its entry once a second at most.
const LAG: u64 = 1_000_000_000;

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

#[inline(always)]
fn insert(key: &FlowKey) -> bool {
    // SAFETY: reads a clock.
    let last_seen = unsafe { bpf_ktime_get_ns() };
    FLOWS.insert(key, FlowValue { last_seen }, 0).is_ok()
}

/// What was found of a flow.
#[derive(PartialEq, Eq)]
enum Entry {
    Absent,
    Current,
    /// Its `last_seen` was behind, and is now.
    Renewed,
}

/// Looks for the flow, which is seen now.
#[inline(always)]
fn touch(key: &FlowKey) -> Entry {
    let Some(flow) = FLOWS.get_ptr_mut(key) else { return Entry::Absent };
    // SAFETY: the kernel keeps an element until the program ends; the one field is written as a whole. The helper reads a
    // clock.
    unsafe {
        let now = bpf_ktime_get_ns();
        if now.wrapping_sub((*flow).last_seen) <= LAG {
            return Entry::Current;
        }
        (*flow).last_seen = now;
    }
    Entry::Renewed
}
