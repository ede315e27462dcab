//! VXLAN by the program itself, in place of the tunnel device.

use aya_ebpf::{
    bindings::{
        __sk_buff, BPF_ADJ_ROOM_ENCAP_L2_MASK, BPF_ADJ_ROOM_ENCAP_L2_SHIFT, BPF_F_ADJ_ROOM_ENCAP_L2_ETH,
        BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6, BPF_F_ADJ_ROOM_ENCAP_L4_UDP,
        BPF_F_ADJ_ROOM_FIXED_GSO, TC_ACT_SHOT, bpf_adj_room_mode::BPF_ADJ_ROOM_MAC,
    },
    helpers::bpf_skb_adjust_room,
};
use naru_abi::{Addr, Config};
use naru_packet::{Bytes, ETHERNET, Family, Outer, enclose, outer_class, tunnel_overhead};

use crate::{
    maps::config,
    packet::Packet,
    route::{fib, next_hops},
};

/// Answered where the tunnel device must do it; nothing is changed then.
pub const BY_DEVICE: i32 = -2;

/// The frame stays what it is: the payload of each segment too, and the inner Ethernet header is part of the tunnel's.
const GROW: u64 = (BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L4_UDP | BPF_F_ADJ_ROOM_ENCAP_L2_ETH)
    as u64
    | (ETHERNET as u64 & BPF_ADJ_ROOM_ENCAP_L2_MASK as u64) << BPF_ADJ_ROOM_ENCAP_L2_SHIFT;

/// Encapsulates a packet of `length` bytes, whose hop is done, for `node`, and sends it. Returns the TC action, or
/// [`BY_DEVICE`]: the kernel knows no way, the outer packet would have to be fragmented, or the kernel cannot
/// make room around such a packet.
#[inline(never)]
pub fn encapsulate(skb: *mut __sk_buff, node: &Addr, length: u32) -> i32 {
    match config::current() {
        Ok(config) => try_encapsulate(&mut Packet::new(skb), config, node, length).unwrap_or(BY_DEVICE),
        Err(_) => BY_DEVICE,
    }
}

#[inline(always)]
fn try_encapsulate(packet: &mut Packet, config: &Config, node: &Addr, length: u32) -> Option<i32> {
    let (family, source, layer) = match node.as_v4() {
        Some(_) => (Family::V4, &config.node_v4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4),
        None => (Family::V6, &config.node_v6, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6),
    };
    let overhead = tunnel_overhead(family);
    if source.is_unspecified() {
        return None;
    }
    let way = next_hops::to(packet.raw(), source, node)?;
    if length + overhead as u32 > way.mtu {
        return None;
    }
    let inner: [u16; ETHERNET / 2] = packet.read(0)?;
    let class = outer_class(packet.class()?);
    let hash = packet.hash();
    let flags = GROW | u64::from(layer);
    // SAFETY: a helper of this packet, which refuses before it changes anything.
    if unsafe { bpf_skb_adjust_room(packet.raw(), overhead as i32, BPF_ADJ_ROOM_MAC, flags) } != 0 {
        return None;
    }
    let outer = Outer {
        source: *source,
        destination: *node,
        source_port: source_port(hash),
        tunnel_port: config.tunnel_port as u16,
        vni: config.vni,
        id: way.id,
    };
    way.id = way.id.wrapping_add(1);
    match enclose(packet, &outer, class, inner) {
        Ok(()) => Some(fib::send(way)),
        Err(_) => Some(TC_ACT_SHOT),
    }
}

/// One of the dynamic ports (RFC 7348, 5: 49152 to 65535), by the hash of the flow inside.
#[inline(always)]
fn source_port(hash: u32) -> u16 {
    0xc000 | (hash >> 18) as u16
}
