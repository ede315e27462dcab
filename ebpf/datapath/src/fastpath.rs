//! What the fast path takes, and how it hands a packet over.

use naru_abi::{DropReason, PodValue, StackReason, pod_flags};
use naru_packet::{Ip, Macs, hop, packet_size, readdress};

use crate::{
    exit::{Decision, Next},
    flow_records,
    packet::Packet,
};

/// The sender of what is looked for in `FLOWS`, and the receiver. A pod with foreign addresses is not marked by those: it is
/// asked about always.
const MAY_SEND_ANSWERS: u32 = pod_flags::SENDS_ANSWERS | pod_flags::ANY_SOURCE;
const MAY_RECEIVE_ANSWERS: u32 = pod_flags::RECEIVES_ANSWERS | pod_flags::ANY_SOURCE;

/// The flags of who is no pod of this node.
pub const REMOTE: u32 = 0;

/// Sends the packet to a pod of this node, unless the stack does it better. `sender` are the flags of the one it is from.
#[inline(always)]
pub fn to_pod(packet: &mut Packet, ip: &Ip, sender: u32, pod: &PodValue) -> Decision {
    permitted(packet, ip, (sender, pod.flags), pod.mtu)?;
    deliver(packet, ip, pod)
}

/// Sends the packet, which is [`permitted`], to a pod of this node.
#[inline(always)]
pub fn deliver(packet: &mut Packet, ip: &Ip, pod: &PodValue) -> Decision {
    let macs = Macs { destination: pod.pod_mac, source: pod.host_mac };
    hand_over(packet, ip, macs)?;
    Ok(Next::Peer(pod.ifindex))
}

/// Whether the fast path may forward the packet: nothing of it is changed yet. `sender` and `receiver` are flags. Answers its
/// [`packet_size`].
#[inline(always)]
pub fn permitted(
    packet: &Packet,
    ip: &Ip,
    (sender, receiver): (u32, u32),
    mtu: u32,
) -> Result<u32, StackReason> {
    if (sender | receiver) & pod_flags::NO_SHORTCUT != 0 {
        return Err(StackReason::NoShortcut);
    }
    if ip.extended {
        return Err(StackReason::Options);
    }
    if ip.hops <= 1 {
        return Err(StackReason::TtlExpired);
    }
    let may_be_answer = sender & MAY_SEND_ANSWERS | receiver & MAY_RECEIVE_ANSWERS != 0;
    if may_be_answer && flow_records::is_recorded(packet, ip) {
        return Err(StackReason::RecordedFlow);
    }
    match packet_size(packet, ip) {
        size if size > mtu => Err(StackReason::TooBig),
        size => Ok(size),
    }
}

/// Does a router's work on the packet.
#[inline(always)]
pub fn hand_over(packet: &mut Packet, ip: &Ip, macs: Macs) -> Result<(), DropReason> {
    readdress(packet, macs).map_err(|_| DropReason::Malformed)?;
    take_hop(packet, ip)
}

/// As [`hand_over`], where the MAC addresses come later.
#[inline(always)]
pub fn take_hop(packet: &mut Packet, ip: &Ip) -> Result<(), DropReason> {
    packet.clear_mark();
    packet.sum_less_hop(ip.family);
    hop(packet, ip).map_err(|_| DropReason::Malformed)
}
