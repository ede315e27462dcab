//! The ways to other nodes, remembered for a moment: asking the kernel was three fifths of what encapsulation cost, where
//! there are rules.

use aya_ebpf::{bindings::__sk_buff, btf_maps::PerCpuArray, helpers::bpf_jiffies64, macros::btf_map};
use naru_abi::{Addr, MAX_WAYS, WayValue};
use naru_packet::protocol;

use crate::uplink::Lookup;

/// Each node has its place, by its address, and shares it with others.
#[btf_map]
static WAYS: PerCpuArray<WayValue, { MAX_WAYS as usize }> = PerCpuArray::new();

/// How long a way is good, in jiffies: a quarter of a second or less. Neighbours are asked for each packet.
const FRESH: u64 = 25;
/// Interface index of the loopback device, which the kernel takes for the origin of a node's own packets.
const LOOPBACK: u32 = 1;

/// The way of a node's own UDP packets from `source` to `node`.
#[inline(always)]
pub fn to(skb: *mut __sk_buff, source: &Addr, node: &Addr) -> Option<&'static WayValue> {
    let [a, b, c, d] = node.words();
    let place = a ^ b ^ c ^ d;
    let place = (place ^ place >> 8 ^ place >> 16 ^ place >> 24) & (MAX_WAYS - 1);
    // SAFETY: this CPU's own entry, and no program of ours interrupts another on it.
    let way = unsafe { &mut *WAYS.get_ptr_mut(place)? };
    // SAFETY: a number.
    let now = unsafe { bpf_jiffies64() };
    if way.node == *node && now.wrapping_sub(way.asked) < FRESH {
        return Some(way);
    }
    // Any length makes the kernel answer with the path's MTU.
    let mut lookup = Lookup::new((source, node), protocol::UDP, 0, 1, LOOPBACK);
    if !lookup.leads_far(skb) {
        return None;
    }
    lookup.note(way);
    (way.node, way.asked) = (*node, now);
    Some(way)
}
