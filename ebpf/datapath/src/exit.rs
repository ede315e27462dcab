//! The one exit: nothing else counts a packet or returns a TC action.

use aya_ebpf::{
    bindings::{__sk_buff, TC_ACT_REDIRECT, TC_ACT_SHOT, TC_ACT_UNSPEC},
    helpers::{bpf_redirect, bpf_redirect_peer},
    programs::TcContext,
};
use naru_abi::{Addr, Counter, DropReason, Hook, OUTCOMES, Outcome, StackReason, Verdict};

use crate::{
    encapsulate::{BY_DEVICE, encapsulate},
    packet::Packet,
    stats,
};

/// How a packet goes on.
#[must_use]
pub enum Next {
    /// Into the namespace of the pod behind this host veth.
    Peer(u32),
    /// Out of the tunnel device of this index.
    Tunnel(u32),
    /// To another node, encapsulated by the program, or else out of the tunnel device.
    Encapsulate(Tunnelled),
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
}

/// What a hook decides; whatever does not go on by our decision is an `Err`.
pub type Decision = Result<Next, Outcome>;

/// A [`Decision`] in the form in which it passes between functions: BTF knows no enum with fields.
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
    /// By the program, and as [`Action::Redirect`] where that does not work.
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
        Action::Redirect | Action::Encapsulate => unsafe { bpf_redirect(ending.ifindex, 0) as i32 },
        Action::Peer => unsafe { bpf_redirect_peer(ending.ifindex, 0) as i32 },
        Action::Sent => TC_ACT_REDIRECT,
    }
}

/// A function of its own, for a stack of its own: a program and what it calls have 512 bytes together, and what is called
/// after the decision needs none of its share.
#[inline(never)]
fn decided(skb: *mut __sk_buff, ending: &mut Ending, decide: impl FnOnce(&mut Packet) -> Decision) {
    let (outcome, action, ifindex) = match decide(&mut Packet::new(skb)) {
        Ok(Next::Encapsulate(tunnelled)) => {
            (ending.length, ending.node) = (tunnelled.length, *tunnelled.node);
            (Verdict::Tunnel.into(), Action::Encapsulate, tunnelled.device)
        }
        Ok(Next::Peer(ifindex)) => (Verdict::Peer.into(), Action::Peer, ifindex),
        Ok(Next::Tunnel(ifindex)) => (Verdict::Tunnel.into(), Action::Redirect, ifindex),
        Ok(Next::Direct) => (Verdict::Direct.into(), Action::Sent, 0),
        Ok(Next::Answer(ifindex)) => (Verdict::Answer.into(), Action::Redirect, ifindex),
        Ok(Next::Pass(verdict)) => (verdict.into(), Action::Pass, 0),
        Err(outcome @ Outcome::Drop(_)) => (outcome, Action::Drop, 0),
        Err(outcome) => (outcome, Action::Pass, 0),
    };
    (ending.outcome, ending.action, ending.ifindex) = (outcome.index() as u32, action, ifindex);
}

/// Encapsulates what is to be, or leaves it to the tunnel device.
#[inline(always)]
fn leave(packet: &Packet, ending: &mut Ending) {
    if ending.action != Action::Encapsulate {
        return;
    }
    let (outcome, action) = match encapsulate(packet.raw(), &ending.node, ending.length) {
        BY_DEVICE => (Verdict::Tunnel.into(), Action::Redirect),
        TC_ACT_REDIRECT => (Verdict::Encapsulated.into(), Action::Sent),
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
    let is_ingress = !matches!(hook, Hook::ToPod | Hook::ToOverlay | Hook::ToUnderlay);
    if is_ingress && matches!(ending.action, Action::Pass | Action::Redirect | Action::Sent) {
        packet.note_as_sent(AS_SENT >> ending.outcome & 1 != 0);
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
