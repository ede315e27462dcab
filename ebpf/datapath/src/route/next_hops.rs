//! Next hops on the underlay, cached for a moment: where there are rules, look-ups took three fifths of the time of
//! encapsulation.
//!
//! On a kernel with PREEMPT_RT another program may take a place over while this one uses it. So the contents of a place
//! are copied, and count only if the place still has the same version after that.

use core::{
    arch::asm,
    sync::atomic::{Ordering, compiler_fence},
};

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::{bpf_get_prandom_u32, bpf_jiffies64},
};
use naru_abi::{Addr, NextHopValue, features};
use naru_packet::{Ip, forwarding_ports, protocol};

use super::fib::{self, Answer, NextHop, ask};
use crate::{maps::next_hops::place, packet::Packet};

/// Lifetime of an answer in jiffies: a quarter of a second at 100 Hz, less at higher rates. Neighbours are looked up
/// for each packet.
const FRESH: u64 = 25;
/// Interface index of the loopback device, which the kernel takes for the origin of a node's own packets.
const LOOPBACK: u32 = 1;
/// Bit of [`NextHopValue::selector`]: a pod sent the packets.
const FORWARDED: u32 = 1 << 16;

/// Inputs on which an answer depends. The interface by which a pod's packet came is not among them: each source has but
/// one.
#[derive(Clone, Copy)]
struct Key<'a> {
    source: &'a Addr,
    destination: &'a Addr,
    selector: u32,
    ports: [u16; 2],
}

impl<'a> Key<'a> {
    #[inline(always)]
    fn of_node(source: &'a Addr, node: &'a Addr, ports: [u16; 2]) -> Self {
        Self { source, destination: node, selector: u32::from(protocol::UDP) << 8, ports }
    }

    #[inline(always)]
    fn of_packet(ip: &'a Ip, ports: [u16; 2]) -> Self {
        let selector = FORWARDED | u32::from(ip.protocol) << 8 | u32::from(ip.traffic_class);
        Self { source: &ip.source, destination: &ip.destination, selector, ports }
    }

    #[inline(always)]
    fn is_of(self, place: &NextHopValue) -> bool {
        place.destination == *self.destination
            && place.source == *self.source
            && place.selector == self.selector
            && place.ports == self.ports
    }

    /// Claims the place for this key, without an answer yet. Returns the place's version, which is unique and not 0.
    #[inline(always)]
    fn take(self, place: &mut NextHopValue) -> u32 {
        // SAFETY: a number.
        let version = unsafe { bpf_get_prandom_u32() } | 1;
        if !self.is_of(place) {
            place.id = version;
        }
        place.version = version;
        compiler_fence(Ordering::Release);
        place.asked = now().wrapping_sub(FRESH);
        (place.source, place.destination) = (*self.source, *self.destination);
        (place.selector, place.ports) = (self.selector, self.ports);
        version
    }
}

/// A place that holds the answer.
pub struct Found {
    place: &'static mut NextHopValue,
    version: u32,
}

impl Found {
    #[inline(always)]
    fn at(place: &'static mut NextHopValue) -> Self {
        let version = place.version;
        compiler_fence(Ordering::Acquire);
        Self { place, version }
    }

    /// Fills in the next hop. Returns true if the place still holds our answer.
    #[inline(always)]
    pub fn next_hop(&self, next_hop: &mut NextHop) -> bool {
        next_hop.fill(self.place);
        compiler_fence(Ordering::Acquire);
        self.place.version == self.version
    }

    /// Path MTU of the underlay.
    #[inline(always)]
    pub fn mtu(&self) -> u32 {
        self.place.lookup.length.into()
    }

    /// Returns the identification for the first of so many packets: the kernel counts on from it when it cuts a packet
    /// into segments.
    #[inline(always)]
    pub fn identify(&mut self, packets: u32) -> u16 {
        let id = self.place.id;
        self.place.id = id.wrapping_add(packets);
        id as u16
    }
}

/// Finds the next hop of the node's own UDP packets from `source` to `node`. `ports` are 0 unless
/// [`features::ROUTES_BY_PORTS`] is set.
#[inline(always)]
pub fn to_node(skb: *mut __sk_buff, source: &Addr, node: &Addr, ports: [u16; 2]) -> Option<Found> {
    let place = place(source, node)?;
    let key = Key::of_node(again(source), again(node), ports);
    let mut found = Found::at(place);
    if !(key.is_of(found.place) && is_fresh(found.place)) {
        found.version = ask_for_node(skb, found.place, source, node, ports);
    }
    (found.version != 0).then_some(found)
}

/// Finds the next hop of a pod's packet of `length` bytes; `None` if the packet does not fit the path. `features` are
/// the node's.
#[inline(always)]
pub fn of_packet(packet: &Packet, ip: &Ip, length: u32, features: u32) -> Option<Found> {
    let ports = match features & features::ROUTES_BY_PORTS {
        0 => [0; 2],
        _ => ports(packet.raw(), ip),
    };
    let place = place(&ip.source, &ip.destination)?;
    let key = Key::of_packet(again(ip), ports);
    let mut found = Found::at(place);
    // Kernels before 5.12 do not return the MTU; it counts as the length of the packet that was asked about.
    if !(key.is_of(found.place) && is_fresh(found.place) && length <= found.mtu()) {
        found.version = ask_for_packet(packet.raw(), found.place, ip, length, ports);
    }
    (found.version != 0).then_some(found)
}

/// Looks up the next hop to a node. Returns the place's version, or 0 without an answer. A function of its own, for a
/// stack of its own: few packets come here.
#[inline(never)]
fn ask_for_node(
    skb: *mut __sk_buff,
    place: &mut NextHopValue,
    source: &Addr,
    node: &Addr,
    ports: [u16; 2],
) -> u32 {
    // For any length the kernel answers with the path's MTU.
    learn(skb, place, Key::of_node(source, node, ports), 1, LOOPBACK, fib::SKIP_NEIGH)
}

/// Does the same as [`ask_for_node`] for a pod's packet.
#[inline(never)]
fn ask_for_packet(
    skb: *mut __sk_buff,
    place: &mut NextHopValue,
    ip: &Ip,
    length: u32,
    ports: [u16; 2],
) -> u32 {
    let ifindex = Packet::new(skb).ifindex();
    learn(skb, place, Key::of_packet(ip, ports), length, ifindex, 0)
}

/// Asks the kernel. The answer is valid for a moment if it is complete. Where another program took the place meanwhile,
/// the entry may hold parts of both answers and belongs to neither.
#[inline(always)]
fn learn(
    skb: *mut __sk_buff,
    place: &mut NextHopValue,
    key: Key<'_>,
    length: u32,
    ifindex: u32,
    flags: u32,
) -> u32 {
    let version = key.take(place);
    let answer = ask(skb, place, length, ifindex, flags);
    if place.version != version {
        place.asked = now().wrapping_sub(FRESH);
        return 0;
    }
    match answer {
        Answer::Unknown => return 0,
        Answer::Known => place.asked = now(),
        Answer::KnownOnce => {}
    }
    version
}

/// A function of its own, as it is long and few nodes need it.
#[inline(never)]
fn ports(skb: *mut __sk_buff, ip: &Ip) -> [u16; 2] {
    forwarding_ports(&Packet::new(skb), ip).into()
}

/// Returns the same reference, opaque to the compiler, which would otherwise keep every word behind it on the stack,
/// each in eight bytes.
#[inline(always)]
pub fn again<T>(it: &T) -> &T {
    let mut pointer = core::ptr::from_ref(it);
    // SAFETY: no instruction at all; the compiler only takes the register for another value than before.
    unsafe { asm!("# {0}", inout(reg) pointer, options(pure, readonly, nostack, preserves_flags)) };
    // SAFETY: the same pointer.
    unsafe { &*pointer }
}

#[inline(always)]
fn is_fresh(place: &NextHopValue) -> bool {
    now().wrapping_sub(place.asked) < FRESH
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: a number.
    unsafe { bpf_jiffies64() }
}
