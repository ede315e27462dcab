//! VXLAN decapsulation by the program instead of the tunnel device.

use aya_ebpf::{
    bindings::{
        BPF_CSUM_LEVEL_DEC, BPF_CSUM_LEVEL_QUERY, BPF_F_ADJ_ROOM_DECAP_L3_IPV4, BPF_F_ADJ_ROOM_DECAP_L3_IPV6,
        BPF_F_ADJ_ROOM_FIXED_GSO, BPF_F_ADJ_ROOM_NO_CSUM_RESET, bpf_adj_room_mode::BPF_ADJ_ROOM_MAC,
    },
    helpers::{bpf_csum_level, bpf_skb_adjust_room},
};
use naru_abi::{DropReason, Outcome, StackReason};
use naru_packet::{
    Bytes, ETHERTYPE, Family, Ip, VxlanHeader, ethertype, outer_traffic_class, protocol, tunnel_overhead,
};

use crate::packet::Packet;

/// Fields of the outer headers that the decision about the inner packet does not need.
#[derive(Clone, Copy)]
pub struct Around {
    /// The outer family.
    pub family: Family,
    /// The outer traffic class.
    pub traffic_class: u8,
    /// The tunnel's header.
    pub vxlan: VxlanHeader,
}

/// Takes the outer headers off the packet around `ip`, or leaves it untouched to the tunnel device:
/// - The kernel keeps a packet's tunnel for its segments, and would take that of UDP segments off once more.
/// - A congestion mark made on the way has to be carried over.
/// - An outer checksum that the hardware has not verified must be verified. A verified or zero one counts as one level
///   of CHECKSUM_UNNECESSARY (`include/linux/skbuff.h`): that level must not vouch for the inner packet.
#[inline(always)]
pub fn decapsulate(packet: &mut Packet, ip: &Ip, around: &Around) -> Result<(), Outcome> {
    let is_known = around.traffic_class & 3 == outer_traffic_class(ip.traffic_class)
        && (packet.gso_size() == 0 || ip.protocol == protocol::TCP)
        && (!around.vxlan.has_checksum || checksum_level(packet, BPF_CSUM_LEVEL_QUERY) >= 0);
    if !is_known || !shrink(packet, around.family, ip.family) {
        return Err(StackReason::TunnelDevice.into());
    }
    checksum_level(packet, BPF_CSUM_LEVEL_DEC);
    packet.write(ETHERTYPE, ethertype(ip.family)).ok_or(DropReason::HelperFailed.into())
}

/// Removes the headers between the outer Ethernet header, which stays, and the inner IP header.
#[inline(always)]
fn shrink(packet: &Packet, outer: Family, inner: Family) -> bool {
    let kept = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET;
    // The kernel needs to be told only of a change of family, and only kernels from 6.3 on can be.
    let flags = match (outer, inner) {
        (Family::V4, Family::V6) => kept | BPF_F_ADJ_ROOM_DECAP_L3_IPV6,
        (Family::V6, Family::V4) => kept | BPF_F_ADJ_ROOM_DECAP_L3_IPV4,
        _ => kept,
    };
    let overhead = tunnel_overhead(outer) as i32;
    // SAFETY: a helper of this packet, which refuses before it changes anything.
    unsafe { bpf_skb_adjust_room(packet.raw(), -overhead, BPF_ADJ_ROOM_MAC, flags.into()) == 0 }
}

#[inline(always)]
fn checksum_level(packet: &Packet, what: u32) -> i64 {
    // SAFETY: a helper of this packet.
    unsafe { bpf_csum_level(packet.raw(), what.into()) }
}
