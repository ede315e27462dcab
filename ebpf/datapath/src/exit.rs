//! The one exit: nothing else counts a packet or returns a TC action.

use aya_ebpf::{
    bindings::{__sk_buff, TC_ACT_REDIRECT, TC_ACT_SHOT, TC_ACT_UNSPEC},
    helpers::{bpf_redirect, bpf_redirect_peer},
    programs::TcContext,
};
use naru_abi::{Addr, Counter, DropReason, Hook, OUTCOMES, Outcome, StackReason, Verdict};

use crate::{
    maps::stats,
    packet::{Note, Packet},
    tunnel::{
        encap::{BY_DEVICE, encapsulate},
        key,
    },
};

/// How a packet goes on.
#[must_use]
pub enum Next {
    /// Into the namespace of the pod behind this host veth.
    Peer(u32),
    /// To another node, in the tunnel.
    Tunnel(Tunnelled),
    /// Out of an uplink, as a helper has noted.
    Direct,
    /// Back out of this interface, as the answer it was turned into.
    Answer(u32),
    /// Where it was going anyway.
    Pass(Verdict),
}

/// A packet on its way to another node.
#[derive(Clone, Copy)]
pub struct Tunnelled {
    /// The tunnel device.
    pub device: u32,
    /// The other node's underlay address.
    pub node: &'static Addr,
    /// Bytes of the packet, of one segment where it stands for several.
    pub length: u32,
    /// Not 0 where the program encapsulates it, as far as it can; else the tunnel device does. A `bool` would lend its unused
    /// values to [`Next`], and the kernel refuses the BTF of that.
    pub by_program: u32,
}

/// What a hook decides; whatever does not go on by our decision is an `Err`.
pub type Decision = Result<Next, Outcome>;

/// A [`Decision`] taken apart.
#[repr(C)]
struct Ending {
    /// [`Outcome::index`].
    outcome: u32,
    action: Action,
    /// The interface of the action, where it has one.
    ifindex: u32,
    /// Length of what is encapsulated.
    length: u32,
    /// For which node it is.
    node: Addr,
}

impl Ending {
    const EMPTY: Self =
        Self { outcome: 0, action: Action::Pass, ifindex: 0, length: 0, node: Addr::UNSPECIFIED };
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
    /// By the program, and as [`Action::Tunnel`] where that does not work.
    Encapsulate,
    /// A helper has noted already where it goes.
    Sent,
}

/// Lets the program of `hook` decide, counts the packet and returns the TC action. What is left alone goes to the next
/// filter, if any.
#[inline(always)]
pub fn conclude(ctx: TcContext, hook: Hook, decide: impl FnOnce(&mut Packet) -> Decision) -> i32 {
    let packet = Packet::new(ctx.skb.skb);
    let amount = packet.amount();
    let mut ending = Ending::EMPTY;
    decided(packet.raw(), &mut ending, decide);
    if let Hook::FromPod = hook {
        leave(&packet, &mut ending);
    }
    count(&packet, hook, &ending, amount);
    note(&packet, hook, &ending);
    #[cfg(feature = "debug")]
    crate::log::ended(packet.raw(), hook, ending.outcome);
    // SAFETY: the helpers only note where this packet goes.
    match ending.action {
        Action::Pass => TC_ACT_UNSPEC,
        Action::Drop => TC_ACT_SHOT,
        Action::Redirect | Action::Tunnel | Action::Encapsulate => unsafe {
            bpf_redirect(ending.ifindex, 0) as i32
        },
        Action::Peer => unsafe { bpf_redirect_peer(ending.ifindex, 0) as i32 },
        Action::Sent => TC_ACT_REDIRECT,
    }
}

/// Takes the decision apart.
#[inline(always)]
fn decided(skb: *mut __sk_buff, ending: &mut Ending, decide: impl FnOnce(&mut Packet) -> Decision) {
    let (outcome, action, ifindex) = match decide(&mut Packet::new(skb)) {
        Ok(Next::Peer(ifindex)) => (Verdict::Peer.into(), Action::Peer, ifindex),
        Ok(Next::Tunnel(Tunnelled { device, node, length, by_program })) => {
            (ending.length, ending.node) = (length, *node);
            let action = if by_program == 0 { Action::Tunnel } else { Action::Encapsulate };
            (Verdict::Tunnel.into(), action, device)
        }
        Ok(Next::Direct) => (Verdict::Direct.into(), Action::Sent, 0),
        Ok(Next::Answer(ifindex)) => (Verdict::Answer.into(), Action::Redirect, ifindex),
        Ok(Next::Pass(verdict)) => (verdict.into(), Action::Pass, 0),
        Err(outcome @ Outcome::Drop(_)) => (outcome, Action::Drop, 0),
        Err(outcome) => (outcome, Action::Pass, 0),
    };
    (ending.outcome, ending.action, ending.ifindex) = (outcome.index() as u32, action, ifindex);
}

/// Encapsulates what is to be, or addresses it for the tunnel device to do so.
#[inline(always)]
fn leave(packet: &Packet, ending: &mut Ending) {
    let sent = match ending.action {
        Action::Encapsulate => encapsulate(packet.raw(), &ending.node, ending.length),
        Action::Tunnel => BY_DEVICE,
        _ => return,
    };
    let (outcome, action) = match sent {
        TC_ACT_REDIRECT => (Verdict::Encapsulated.into(), Action::Sent),
        BY_DEVICE if key::address(packet.raw(), &ending.node) => (Verdict::Tunnel.into(), Action::Tunnel),
        _ => (Outcome::Drop(DropReason::HelperFailed), Action::Drop),
    };
    (ending.outcome, ending.action) = (outcome.index() as u32, action);
}

/// Outcomes of what a pod sends to another, and what goes there by us, or by the stack where that does it better: a bit
/// each.
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

/// Tells the hooks that see the packet next on this node whether it goes as a pod sent it.
#[inline(always)]
fn note(packet: &Packet, hook: Hook, ending: &Ending) {
    if matches!(hook, Hook::ToPod | Hook::ToOverlay | Hook::ToUnderlay) {
        return;
    }
    match ending.action {
        Action::Tunnel => packet.note(Note::Addressed),
        Action::Pass | Action::Redirect | Action::Sent => {
            packet.note(if AS_SENT >> ending.outcome & 1 != 0 { Note::AsSent } else { Note::None });
        }
        _ => {}
    }
}

#[inline(always)]
fn count(packet: &Packet, hook: Hook, ending: &Ending, amount: Counter) {
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
