//! The one exit: nothing else counts a packet or returns a TC action.

use aya_ebpf::{
    bindings::{__sk_buff, TC_ACT_SHOT, TC_ACT_UNSPEC},
    helpers::{bpf_redirect, bpf_redirect_peer},
    programs::TcContext,
};
use naru_abi::{Hook, Outcome, Verdict};

use crate::{packet::Packet, stats};

/// How a packet goes on.
#[must_use]
pub enum Next {
    /// Into the namespace of the pod behind this host veth.
    Peer(u32),
    /// Out of the tunnel device of this index.
    Tunnel(u32),
    /// Back out of this interface, as the answer it was turned into.
    Answer(u32),
    /// Where it was going anyway.
    Pass(Verdict),
}

/// What a hook decides; whatever does not go on by our decision is an `Err`.
pub type Decision = Result<Next, Outcome>;

/// Lets the program of `hook` decide, counts the packet and returns the TC action. What is left alone goes to the next
/// filter, if any.
#[inline(always)]
pub fn conclude(ctx: TcContext, hook: Hook, decide: impl FnOnce(&mut Packet) -> Decision) -> i32 {
    let ended = end(ctx.skb.skb, hook, decide);
    #[cfg(feature = "debug")]
    crate::log::ended(ctx.skb.skb, hook, (ended >> 32) as u32);
    ended as i32
}

/// The TC action, and above it the number of the outcome. With a log a function of its own: the stack of a program that
/// decides has no room for another, and there are no more than 512 bytes for both.
#[cfg_attr(not(feature = "debug"), inline(always))]
#[cfg_attr(feature = "debug", inline(never))]
fn end(skb: *mut __sk_buff, hook: Hook, decide: impl FnOnce(&mut Packet) -> Decision) -> u64 {
    let mut packet = Packet::new(TcContext::new(skb));
    let decision = decide(&mut packet);
    let outcome = match &decision {
        Ok(Next::Peer(_)) => Outcome::Verdict(Verdict::Peer),
        Ok(Next::Tunnel(_)) => Outcome::Verdict(Verdict::Tunnel),
        Ok(Next::Answer(_)) => Outcome::Verdict(Verdict::Answer),
        Ok(Next::Pass(verdict)) => Outcome::Verdict(*verdict),
        Err(outcome) => *outcome,
    };
    count(&packet, hook, outcome, &decision);
    // SAFETY: the helpers only note where this packet goes.
    let action = match decision {
        Ok(Next::Peer(ifindex)) => unsafe { bpf_redirect_peer(ifindex, 0) as i32 },
        Ok(Next::Tunnel(ifindex) | Next::Answer(ifindex)) => unsafe { bpf_redirect(ifindex, 0) as i32 },
        Ok(Next::Pass(_)) | Err(Outcome::Verdict(_) | Outcome::Stack(_)) => TC_ACT_UNSPEC,
        Err(Outcome::Drop(_)) => TC_ACT_SHOT,
    };
    u64::from(action as u32) | (outcome.index() as u64) << 32
}

#[inline(always)]
fn count(packet: &Packet, hook: Hook, outcome: Outcome, decision: &Decision) {
    let amount = packet.amount();
    stats::ended(hook, outcome, amount);
    if let Hook::FromPod = hook {
        stats::sent(packet.ifindex(), outcome, amount);
    }
    match (hook, decision) {
        (_, Ok(Next::Peer(ifindex))) => stats::received(*ifindex, amount),
        (Hook::ToPod, Ok(_)) => stats::received(packet.ifindex(), amount),
        _ => {}
    }
}
