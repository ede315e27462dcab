//! The one exit, the last stage of every hook: nothing else counts a packet or returns a TC action.

use aya_ebpf::{
    bindings::{TC_ACT_REDIRECT, TC_ACT_SHOT, TC_ACT_UNSPEC},
    helpers::{bpf_redirect, bpf_redirect_peer},
    programs::TcContext,
};
use naru_abi::{Hook, OUTCOMES, Outcome, StackReason, Verdict};

use crate::{
    maps::stats,
    packet::{Amount, Note, Packet},
};

/// The way in which a packet is forwarded.
#[must_use]
pub enum Next {
    /// Into the namespace of the pod behind this host veth.
    Peer(u32),
    /// Out of this tunnel device, which encapsulates it by the key it was given.
    Tunnel(u32),
    /// Out of an uplink, as a helper has noted.
    Uplink(Verdict),
    /// Back out of this interface, as the answer it was turned into.
    Answer(u32),
    /// On in the direction in which it was going.
    Pass(Verdict),
}

/// A hook's decision; packets that we do not forward ourselves are an `Err`.
pub type Decision = Result<Next, Outcome>;

/// A [`Decision`] taken apart.
struct Ending {
    /// [`Outcome::index`].
    outcome: u32,
    action: Action,
    /// The interface of the action, where it has one.
    ifindex: u32,
}

#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Pass,
    Drop,
    Redirect,
    Peer,
    /// Out of the tunnel device, with the tunnel's key.
    Tunnel,
    /// A helper has noted already where it goes.
    Noted,
}

/// Lets the program of `hook` decide, counts the packet and returns the TC action. A packet that we leave alone goes to
/// the next filter, if there is one.
#[inline(always)]
pub fn conclude(ctx: TcContext, hook: Hook, decide: impl FnOnce(&mut Packet) -> Decision) -> i32 {
    let packet = Packet::new(ctx.skb.skb);
    let amount = packet.amount();
    let ending = taken_apart(decide(&mut Packet::new(packet.raw())));
    count(&packet, hook, &ending, amount);
    note(&packet, hook, &ending);
    #[cfg(feature = "debug")]
    crate::log::ended(packet.raw(), hook, ending.outcome);
    // SAFETY: the helpers only note where this packet goes.
    match ending.action {
        Action::Pass => TC_ACT_UNSPEC,
        Action::Drop => TC_ACT_SHOT,
        Action::Redirect | Action::Tunnel => unsafe { bpf_redirect(ending.ifindex, 0) as i32 },
        Action::Peer => unsafe { bpf_redirect_peer(ending.ifindex, 0) as i32 },
        Action::Noted => TC_ACT_REDIRECT,
    }
}

#[inline(always)]
fn taken_apart(decision: Decision) -> Ending {
    let (outcome, action, ifindex) = match decision {
        Ok(Next::Peer(ifindex)) => (Verdict::Peer.into(), Action::Peer, ifindex),
        Ok(Next::Tunnel(device)) => (Verdict::Tunnel.into(), Action::Tunnel, device),
        Ok(Next::Uplink(verdict)) => (verdict.into(), Action::Noted, 0),
        Ok(Next::Answer(ifindex)) => (Verdict::Answer.into(), Action::Redirect, ifindex),
        Ok(Next::Pass(verdict)) => (verdict.into(), Action::Pass, 0),
        Err(outcome @ (Outcome::Drop(_) | Outcome::Link(_))) => (outcome, Action::Drop, 0),
        Err(outcome) => (outcome, Action::Pass, 0),
    };
    Ending { outcome: outcome.index() as u32, action, ifindex }
}

/// A set of outcomes, one bit each: of packets that a pod sends to another pod, by our forwarding or by the stack's.
const AS_SENT: u64 = {
    use StackReason::{DirectByStack, NoShortcut, Options, TooBig, TtlExpired};
    let verdicts = [Verdict::Tunnel, Verdict::Encapsulated, Verdict::Direct];
    let reasons = [DirectByStack, NoShortcut, Options, TooBig, TtlExpired];
    let (mut bits, mut at) = (0, 0);
    while at < verdicts.len() {
        bits |= 1 << Outcome::Verdict(verdicts[at]).index();
        at += 1;
    }
    at = 0;
    while at < reasons.len() {
        bits |= 1 << Outcome::Stack(reasons[at]).index();
        at += 1;
    }
    bits
};
const _: () = assert!(OUTCOMES <= 64);
/// The outcome of packets of which the stack restores an address.
const RECORDED: u32 = Outcome::Stack(StackReason::RecordedFlow).index() as u32;

/// Leaves a note for the next hooks on this node if the packet goes on as a pod sent it.
#[inline(always)]
fn note(packet: &Packet, hook: Hook, ending: &Ending) {
    if matches!(hook, Hook::ToPod | Hook::ToOverlay | Hook::ToUnderlay) {
        return;
    }
    match ending.action {
        Action::Tunnel => packet.note(Note::Addressed),
        Action::Pass if ending.outcome == RECORDED => packet.note(Note::Judged),
        Action::Pass | Action::Redirect | Action::Noted => {
            let is_as_sent = AS_SENT >> ending.outcome & 1 != 0;
            if is_as_sent || !matches!(hook, Hook::FromPod) || !packet.is_provisional() {
                packet.note(if is_as_sent { Note::AsSent } else { Note::None });
            }
        }
        _ => {}
    }
}

#[inline(always)]
fn count(packet: &Packet, hook: Hook, ending: &Ending, amount: Amount) {
    let amount = amount.into();
    stats::ended(hook, ending.outcome, amount);
    if let Hook::FromPod = hook {
        stats::sent(packet.ifindex(), ending.outcome, amount);
    }
    match (hook, ending.action) {
        (_, Action::Peer) => stats::received(ending.ifindex, amount),
        (Hook::ToPod, Action::Pass) => stats::received(packet.ifindex(), amount),
        _ => {}
    }
}
