//! The tunnel key that the vxlan device and the programs exchange.

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_TUNINFO_IPV6, BPF_F_ZERO_CSUM_TX, bpf_tunnel_key},
    helpers::{bpf_skb_get_tunnel_key, bpf_skb_set_tunnel_key},
};
use naru_abi::{Addr, Config, DropReason, features};

use crate::packet::Packet;

/// The part of `struct bpf_tunnel_key` (`include/uapi/linux/bpf.h`) that every kernel since 5.10 knows. Later kernels
/// add the local address, and recognise this version by its size.
#[repr(C)]
struct Key {
    id: u32,
    /// IPv4 in the first word in host order, or IPv6 in network order.
    remote: [u32; 4],
    tos: u8,
    ttl: u8,
    ext: u16,
    label: u32,
}

const KEY_SIZE: u32 = size_of::<Key>() as u32;
const IPV6: u64 = BPF_F_TUNINFO_IPV6 as u64;
/// TTL of the outer packet.
const OUTER_TTL: u8 = 64;

/// The origin of a packet that came by the tunnel.
pub struct Origin {
    /// VXLAN network identifier.
    pub vni: u32,
    /// The outer source address.
    pub address: Addr,
}

/// Reads what the device noted on decapsulation.
#[inline(always)]
pub fn origin(packet: &Packet) -> Result<Origin, DropReason> {
    let mut key = Key { id: 0, remote: [0; 4], tos: 0, ttl: 0, ext: 0, label: 0 };
    if read(packet, &mut key, 0) {
        return Ok(Origin { vni: key.id, address: Addr::v4(key.remote[0].to_be_bytes()) });
    }
    if read(packet, &mut key, IPV6) {
        return Ok(Origin { vni: key.id, address: v6(key.remote) });
    }
    Err(DropReason::HelperFailed)
}

#[inline(always)]
fn read(packet: &Packet, key: &mut Key, flags: u64) -> bool {
    let key = core::ptr::from_mut(key).cast::<bpf_tunnel_key>();
    // SAFETY: the helper fills no more than the size it is told.
    unsafe { bpf_skb_get_tunnel_key(packet.raw(), key, KEY_SIZE, flags) == 0 }
}

/// Sets the tunnel key to `node`, for the device to encapsulate. Returns true on success. A function of its own, for a
/// stack of its own.
#[inline(never)]
pub fn address(skb: *mut __sk_buff, config: &Config, node: &Addr) -> bool {
    let (remote, flags) = match node.as_v4() {
        Some(v4) => ([u32::from_be_bytes(v4), 0, 0, 0], 0),
        None => (words(node), IPV6),
    };
    let mut key = Key { id: config.vni, remote, tos: 0, ttl: OUTER_TTL, ext: 0, label: 0 };
    let checksum = if config.features & features::SHARED_PORT == 0 { 0 } else { BPF_F_ZERO_CSUM_TX as u64 };
    let key = core::ptr::from_mut(&mut key).cast::<bpf_tunnel_key>();
    // SAFETY: the helper reads no more than the size it is told.
    unsafe { bpf_skb_set_tunnel_key(skb, key, KEY_SIZE, flags | checksum) == 0 }
}

/// The bytes of an IPv6 address as the key holds them.
#[inline(always)]
fn words(addr: &Addr) -> [u32; 4] {
    // SAFETY: sixteen bytes either way.
    unsafe { core::mem::transmute(addr.octets) }
}

#[inline(always)]
fn v6(words: [u32; 4]) -> Addr {
    // SAFETY: sixteen bytes either way.
    Addr::v6(unsafe { core::mem::transmute::<[u32; 4], [u8; 16]>(words) })
}
