//! Direct routing: the work of a router, done by the program for nodes that need no tunnel.

use aya_ebpf::bindings::{__sk_buff, TC_ACT_SHOT};
use naru_packet::Ip;

use super::{fib::NextHop, next_hops};
use crate::{fastpath::pass_router, packet::Packet};

/// The result if the stack must do it; nothing is changed then.
pub const BY_STACK: i32 = -2;

/// Routes a packet of `length` bytes as the kernel would; `features` are the node's. Returns the TC action, or
/// [`BY_STACK`]. A function of its own, for a stack of its own.
#[inline(never)]
pub fn route(skb: *mut __sk_buff, ip: &Ip, length: u32, features: u32) -> i32 {
    let packet = &mut Packet::new(skb);
    let mut next_hop = NextHop::NONE;
    match next_hops::of_packet(packet, ip, length, features) {
        Some(found) if found.next_hop(&mut next_hop) => {}
        _ => return BY_STACK,
    }
    match pass_router(packet, ip) {
        Ok(()) => next_hop.send(),
        Err(_) => TC_ACT_SHOT,
    }
}
