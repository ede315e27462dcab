//! A router's work in place of the stack's, towards a node that needs no tunnel.

use aya_ebpf::bindings::{__sk_buff, TC_ACT_SHOT};
use naru_packet::Ip;

use super::{fib, next_hops};
use crate::{fastpath::take_hop, packet::Packet};

/// Answered where the stack must do it; nothing is changed then.
pub const BY_STACK: i32 = -2;

/// Sends a packet of `length` bytes where the kernel would. Returns the TC action, or [`BY_STACK`]. A function of its own,
/// for a stack of its own.
#[inline(never)]
pub fn route(skb: *mut __sk_buff, ip: &Ip, length: u32) -> i32 {
    let packet = &mut Packet::new(skb);
    let Some(way) = next_hops::on(skb, ip, length, packet.ifindex()) else { return BY_STACK };
    match take_hop(packet, ip) {
        Ok(()) => fib::send(way),
        Err(_) => TC_ACT_SHOT,
    }
}
