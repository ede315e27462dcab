//! What the fast path takes, and how it hands a packet over.

use naru_abi::{DropReason, PodValue, StackReason, pod_flags};
use naru_packet::{Ip, Macs, forward, packet_size};

use crate::{
    exit::{Decision, Next},
    packet::Packet,
};

/// Sends the packet to a pod of this node, unless the stack does it better. `flags` are the sender's.
#[inline(always)]
pub fn to_pod(packet: &mut Packet, ip: &Ip, flags: u32, pod: &PodValue) -> Decision {
    permitted(packet, ip, flags | pod.flags, pod.mtu)?;
    let macs = Macs { destination: pod.pod_mac, source: pod.host_mac };
    hand_over(packet, ip, macs)?;
    Ok(Next::Peer(pod.ifindex))
}

/// Whether the fast path may forward the packet: nothing of it is changed yet.
#[inline(always)]
pub fn permitted(packet: &Packet, ip: &Ip, flags: u32, mtu: u32) -> Result<(), StackReason> {
    if flags & pod_flags::NO_SHORTCUT != 0 {
        return Err(StackReason::NoShortcut);
    }
    if ip.extended {
        return Err(StackReason::Options);
    }
    if ip.hops <= 1 {
        return Err(StackReason::TtlExpired);
    }
    if packet_size(packet, ip) > mtu {
        return Err(StackReason::TooBig);
    }
    Ok(())
}

/// Does a router's work on the packet.
#[inline(always)]
pub fn hand_over(packet: &mut Packet, ip: &Ip, macs: Macs) -> Result<(), DropReason> {
    packet.clear_mark();
    forward(packet, ip, macs).map_err(|_| DropReason::Malformed)
}
