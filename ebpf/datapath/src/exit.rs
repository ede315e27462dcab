//! The one exit: nothing else counts a packet or returns a TC action.

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC},
    helpers::{bpf_redirect, bpf_redirect_peer},
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

/// Counts the packet and turns the decision into a TC action. What is left alone goes to the next filter, if any.
#[inline(always)]
pub fn conclude(packet: &Packet, hook: Hook, decision: Decision) -> i32 {
    let outcome = match &decision {
        Ok(Next::Peer(_)) => Outcome::Verdict(Verdict::Peer),
        Ok(Next::Tunnel(_)) => Outcome::Verdict(Verdict::Tunnel),
        Ok(Next::Answer(_)) => Outcome::Verdict(Verdict::Answer),
        Ok(Next::Pass(verdict)) => Outcome::Verdict(*verdict),
        Err(outcome) => *outcome,
    };
    count(packet, hook, outcome, &decision);
    trace(packet, hook, outcome);
    // SAFETY: the helpers only note where this packet goes.
    match decision {
        Ok(Next::Peer(ifindex)) => unsafe { bpf_redirect_peer(ifindex, 0) as i32 },
        Ok(Next::Tunnel(ifindex) | Next::Answer(ifindex)) => unsafe { bpf_redirect(ifindex, 0) as i32 },
        Ok(Next::Pass(_)) | Err(Outcome::Verdict(_) | Outcome::Stack(_)) => TC_ACT_UNSPEC,
        Err(Outcome::Drop(_)) => TC_ACT_SHOT,
    }
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

#[cfg(feature = "debug")]
#[inline(always)]
fn trace(packet: &Packet, hook: Hook, outcome: Outcome) {
    // SAFETY: three integers for three conversions.
    unsafe {
        aya_ebpf::bpf_printk!(
            c"naru: hook %u if %u outcome %u",
            hook as u32,
            packet.ifindex(),
            outcome.index() as u32
        )
    };
}

#[cfg(not(feature = "debug"))]
#[inline(always)]
fn trace(_: &Packet, _: Hook, _: Outcome) {}
