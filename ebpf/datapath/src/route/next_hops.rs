//! Ways over the underlay, remembered for a moment: asking the kernel was three fifths of what encapsulation cost, where
//! there are rules.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::{bpf_get_prandom_u32, bpf_jiffies64},
};
use naru_abi::{Addr, WayValue};
use naru_packet::{Ip, protocol};

use super::fib::Lookup;
use crate::maps::next_hops::place;

/// How long a way is good, in jiffies: a quarter of a second or less. Neighbours are asked for each packet.
const FRESH: u64 = 25;
/// Interface index of the loopback device, which the kernel takes for the origin of a node's own packets.
const LOOPBACK: u32 = 1;
/// In [`WayValue::kind`]: a pod sent them.
const FORWARDED: u32 = 1 << 16;

/// The way of a node's own UDP packets from `source` to `node`.
#[inline(always)]
pub fn to(skb: *mut __sk_buff, source: &Addr, node: &Addr) -> Option<&'static mut WayValue> {
    let kind = u32::from(protocol::UDP) << 8;
    let way = place(source, node)?;
    if !is_known(way, source, node, kind) {
        // Any length makes the kernel answer with the path's MTU.
        let mut lookup = Lookup::new((source, node), protocol::UDP, 0, 1, LOOPBACK);
        if !lookup.leads_far(skb) {
            return None;
        }
        lookup.note(way);
        (way.source, way.destination, way.kind, way.asked) = (*source, *node, kind, now());
        // SAFETY: a number.
        way.id = unsafe { bpf_get_prandom_u32() } as u16;
    }
    Some(way)
}

/// The way of a pod's packet of `length` bytes that came by `ifindex`, if it fits. Everything but the interface decides
/// which packets share the answer: a source has but one.
#[inline(always)]
pub fn on(skb: *mut __sk_buff, ip: &Ip, length: u32, ifindex: u32) -> Option<&'static WayValue> {
    let kind = FORWARDED | u32::from(ip.protocol) << 8 | u32::from(ip.class);
    let way = place(&ip.source, &ip.destination)?;
    if is_known(way, &ip.source, &ip.destination, kind) {
        return (length <= way.mtu).then_some(way);
    }
    let ends = (&ip.source, &ip.destination);
    let mut lookup = Lookup::new(ends, ip.protocol, ip.class, length, ifindex);
    if !lookup.leads_on(skb) {
        return None;
    }
    lookup.note(way);
    (way.source, way.destination, way.kind) = (ip.source, ip.destination, kind);
    // Without a neighbour the kernel does not tell the MTU, which then still is the length: good for this packet alone.
    way.asked = if way.mtu == length { now().wrapping_sub(FRESH) } else { now() };
    Some(way)
}

#[inline(always)]
fn is_known(way: &WayValue, source: &Addr, destination: &Addr, kind: u32) -> bool {
    way.destination == *destination
        && way.source == *source
        && way.kind == kind
        && now().wrapping_sub(way.asked) < FRESH
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: a number.
    unsafe { bpf_jiffies64() }
}
