//! VXLAN encapsulation by the program instead of the tunnel device: the last stage before the exit.

use aya_ebpf::{
    bindings::{
        __sk_buff, BPF_ADJ_ROOM_ENCAP_L2_MASK, BPF_ADJ_ROOM_ENCAP_L2_SHIFT, BPF_F_ADJ_ROOM_ENCAP_L2_ETH,
        BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6, BPF_F_ADJ_ROOM_ENCAP_L4_UDP,
        BPF_F_ADJ_ROOM_FIXED_GSO, TC_ACT_REDIRECT, TC_ACT_SHOT, bpf_adj_room_mode::BPF_ADJ_ROOM_MAC,
    },
    helpers::bpf_skb_adjust_room,
};
use naru_abi::{Addr, Config, DropReason, Verdict, features};
use naru_packet::{ETHERNET, Family, Outer, outer_traffic_class, tunnel_overhead, write_outer};

use super::key;
use crate::{
    exit::{Decision, Next},
    packet::Packet,
    route::{
        fib::NextHop,
        next_hops::{self, again},
    },
};

/// The result if the tunnel device must do it; nothing is changed then.
const BY_DEVICE: i32 = -2;

/// The payload of each segment stays the same, and the inner Ethernet header is part of the tunnel's.
const GROW: u64 = (BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L4_UDP | BPF_F_ADJ_ROOM_ENCAP_L2_ETH)
    as u64
    | (ETHERNET as u64 & BPF_ADJ_ROOM_ENCAP_L2_MASK as u64) << BPF_ADJ_ROOM_ENCAP_L2_SHIFT;

/// Sends a packet of `length` bytes, whose TTL and MAC addresses are done, to `node`: encapsulated here if `by_program`
/// and if possible, otherwise by the tunnel device.
#[inline(always)]
pub fn send(packet: &Packet, config: &Config, node: &Addr, length: u32, by_program: bool) -> Decision {
    let sent = if by_program { encapsulate(packet.raw(), config, node, length) } else { BY_DEVICE };
    match sent {
        TC_ACT_REDIRECT => Ok(Next::Uplink(Verdict::Encapsulated)),
        BY_DEVICE if key::address(packet.raw(), config, node) => Ok(Next::Tunnel(config.overlay_ifindex)),
        _ => Err(DropReason::HelperFailed.into()),
    }
}

/// Encapsulates the packet for `node`, and sends it. Returns the TC action, or [`BY_DEVICE`]: the kernel knows no
/// next hop, the outer packet would have to be fragmented, or the kernel cannot make room around such a packet.
#[inline(never)]
fn encapsulate(skb: *mut __sk_buff, config: &Config, node: &Addr, length: u32) -> i32 {
    try_encapsulate(&mut Packet::new(skb), config, node, length).unwrap_or(BY_DEVICE)
}

#[inline(always)]
fn try_encapsulate(packet: &mut Packet, config: &Config, node: &Addr, length: u32) -> Option<i32> {
    let (family, source, layer) = match node.is_v4() {
        true => (Family::V4, &config.node_v4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4),
        false => (Family::V6, &config.node_v6, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6),
    };
    let overhead = tunnel_overhead(family);
    if source.is_unspecified() {
        return None;
    }
    let (source_port, tunnel_port) = (source_port(packet.hash()), config.tunnel_port as u16);
    let ports = match config.features & features::ROUTES_BY_PORTS {
        0 => [0; 2],
        _ => [source_port, tunnel_port],
    };
    let mut found = next_hops::to_node(packet.raw(), source, node, ports)?;
    let (source, node) = (again(source), again(node));
    if length + overhead as u32 > found.mtu() {
        return None;
    }
    let mut next_hop = NextHop::NONE;
    if !found.next_hop(&mut next_hop) {
        return None;
    }
    let traffic_class = outer_traffic_class(packet.traffic_class()?);
    let segments = packet.amount().packets();
    let flags = GROW | u64::from(layer);
    // SAFETY: a helper of this packet, which refuses before it changes anything.
    if unsafe { bpf_skb_adjust_room(packet.raw(), overhead as i32, BPF_ADJ_ROOM_MAC, flags) } != 0 {
        return None;
    }
    let outer = Outer {
        source,
        destination: node,
        source_port,
        tunnel_port,
        vni: config.vni,
        id: found.identify(segments),
    };
    match write_outer(packet, &outer, traffic_class) {
        Ok(()) => Some(next_hop.send()),
        Err(_) => Some(TC_ACT_SHOT),
    }
}

/// One of the dynamic ports (RFC 7348, 5: 49152 to 65535), by the hash of the flow inside.
#[inline(always)]
fn source_port(hash: u32) -> u16 {
    0xc000 | (hash >> 18) as u16
}
