//! What the fast path takes, and how it hands a packet over.

use naru_abi::{DropReason, StackReason, pod_flags};
use naru_packet::{Ip, Macs, decrement_ttl, packet_size, readdress};

use crate::{
    exit::{Decision, Next},
    flow_records,
    maps::pods::Pod,
    packet::Packet,
    sender::Sender,
};

/// What is asked about both ends of a packet.
#[derive(Clone, Copy)]
pub struct Ends {
    /// Bits of [`pod_flags`] of either.
    flags: u32,
    /// Whether `FLOWS` may have a record that this packet answers.
    may_be_answer: bool,
}

impl Ends {
    /// From a pod of this node to another node.
    #[inline(always)]
    pub fn from_pod(sender: &Sender) -> Self {
        Self { flags: sender.flags, may_be_answer: sender.sends_answers }
    }

    /// From another node to a pod of this one. A pod with foreign addresses is not marked by those: it is asked about
    /// always.
    #[inline(always)]
    pub fn to_pod(pod: Pod) -> Self {
        let may_be_answer = pod.receives_answers() || pod.flags() & pod_flags::ANY_SOURCE != 0;
        Self { flags: pod.flags(), may_be_answer }
    }

    /// From a pod of this node to another.
    #[inline(always)]
    pub fn between(sender: &Sender, pod: Pod) -> Self {
        let (from, to) = (Self::from_pod(sender), Self::to_pod(pod));
        Self { flags: from.flags | to.flags, may_be_answer: from.may_be_answer | to.may_be_answer }
    }
}

/// Sends the packet to a pod of this node, unless the stack does it better.
#[inline(always)]
pub fn to_pod(packet: &mut Packet, ip: &Ip, ends: Ends, pod: Pod) -> Decision {
    permitted(packet, ip, ends, pod.mtu())?;
    deliver(packet, ip, pod)
}

/// Sends the packet, which is [`permitted`], to a pod of this node.
#[inline(always)]
pub fn deliver(packet: &mut Packet, ip: &Ip, pod: Pod) -> Decision {
    let ifindex = pod.ifindex();
    readdress(packet, pod.macs()).map_err(|_| DropReason::Malformed)?;
    if !pod.is_of(&ip.destination) {
        // Given up since it was looked up. Nothing is changed that the stack would look at.
        return Err(StackReason::Unassigned.into());
    }
    pass_router(packet, ip)?;
    Ok(Next::Peer(ifindex))
}

/// Whether the fast path may forward the packet: nothing of it is changed yet. Answers its [`packet_size`].
#[inline(always)]
pub fn permitted(packet: &Packet, ip: &Ip, ends: Ends, mtu: u32) -> Result<u32, StackReason> {
    if ends.flags & pod_flags::NO_SHORTCUT != 0 {
        return Err(StackReason::NoShortcut);
    }
    if ip.extended {
        return Err(StackReason::Options);
    }
    if ip.ttl <= 1 {
        return Err(StackReason::TtlExpired);
    }
    if ends.may_be_answer && flow_records::is_recorded(packet, ip) {
        return Err(StackReason::RecordedFlow);
    }
    match packet_size(packet, ip) {
        size if size > mtu => Err(StackReason::TooBig),
        size => Ok(size),
    }
}

/// Does a router's work on a packet that goes to another node.
#[inline(always)]
pub fn hand_over(packet: &mut Packet, ip: &Ip, macs: Macs) -> Result<(), DropReason> {
    readdress(packet, macs).map_err(|_| DropReason::Malformed)?;
    pass_router(packet, ip)
}

/// As [`hand_over`], where the MAC addresses come later.
#[inline(always)]
pub fn pass_router(packet: &mut Packet, ip: &Ip) -> Result<(), DropReason> {
    packet.clear_mark();
    packet.sum_after_decrement(ip.family);
    decrement_ttl(packet, ip).map_err(|_| DropReason::Malformed)
}
