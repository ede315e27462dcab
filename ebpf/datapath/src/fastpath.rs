//! Conditions of the fast path, and the hand-over of packets.

use naru_abi::{DropReason, StackReason, look, pod_flags};
use naru_packet::{Ip, Macs, decrement_ttl, packet_size, readdress};

use crate::{
    exit::{Decision, Next},
    flow_records,
    maps::pods::Pod,
    packet::Packet,
    sender::Sender,
    service,
};

/// Facts about both ends of a packet.
#[derive(Clone, Copy)]
pub struct Ends {
    /// Bits of [`pod_flags`] of either.
    flags: u32,
    /// Maps that may hold a record of the flow that this packet answers; bits of [`look`].
    look: u32,
}

impl Ends {
    /// From a pod of this node to another node.
    #[inline(always)]
    pub fn from_pod(sender: &Sender) -> Self {
        Self { flags: sender.flags, look: sender.sends_answers }
    }

    /// The ends of a packet from another node to a pod of this one. Foreign addresses of a pod do not mark it, so its
    /// flows are always looked up.
    #[inline(always)]
    pub fn to_pod(pod: Pod) -> Self {
        let always = if pod.flags() & pod_flags::ANY_SOURCE == 0 { 0 } else { look::EVERYWHERE };
        Self { flags: pod.flags(), look: pod.receives_answers() | always }
    }

    /// From a pod of this node to another.
    #[inline(always)]
    pub fn between(sender: &Sender, pod: Pod) -> Self {
        let (from, to) = (Self::from_pod(sender), Self::to_pod(pod));
        Self { flags: from.flags | to.flags, look: from.look | to.look }
    }
}

/// Sends the packet to a pod of this node, or leaves it to the stack.
#[inline(always)]
pub fn to_pod(packet: &mut Packet, ip: &Ip, ends: Ends, pod: Pod) -> Decision {
    permitted(packet, ip, ends, pod.mtu())?;
    deliver(packet, ip, pod)
}

/// Sends the packet, which is [`permitted`], to a pod of this node.
#[inline(always)]
pub fn deliver(packet: &mut Packet, ip: &Ip, pod: Pod) -> Decision {
    let (ifindex, is_client) = (pod.ifindex(), service::is_client(pod.receives_answers()));
    readdress(packet, pod.macs()).map_err(|_| DropReason::Malformed)?;
    if !pod.is_of(&ip.destination) {
        // The pod was removed since the look-up. Nothing that the stack would see is changed.
        return Err(StackReason::Unassigned.into());
    }
    pass_router(packet, ip)?;
    if is_client {
        service::to_client(packet, ip)?;
    }
    Ok(Next::Peer(ifindex))
}

/// Checks, before anything is changed, that the fast path may forward the packet. Returns its [`packet_size`].
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
    if ends.look & look::EVERYWHERE != 0 && flow_records::is_recorded(packet, ip, ends.look) {
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

/// Does the same as [`hand_over`], but leaves the MAC addresses for later.
#[inline(always)]
pub fn pass_router(packet: &mut Packet, ip: &Ip) -> Result<(), DropReason> {
    packet.clear_mark();
    packet.sum_after_decrement(ip.family);
    decrement_ttl(packet, ip).map_err(|_| DropReason::Malformed)
}
