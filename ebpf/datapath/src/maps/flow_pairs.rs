use aya_ebpf::{bindings::BPF_F_NO_PREALLOC, btf_maps::HashMap, macros::btf_map};
use naru_abi::{FlowKey, FlowValue, MAX_FLOW_PAIRS};

use super::flows;

#[btf_map]
static FLOW_PAIRS: HashMap<FlowKey, FlowValue, { MAX_FLOW_PAIRS as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// Records the pair in both directions: connection tracking takes an answer for a stray packet if it has not seen the
/// packet that is answered. Returns true if there was room.
#[inline(always)]
pub fn insert(key: &mut FlowKey) -> bool {
    let value = flows::seen_now();
    let is_there = put(key, value);
    core::mem::swap(&mut key.source, &mut key.destination);
    is_there && put(key, value)
}

#[inline(always)]
fn put(key: &FlowKey, value: FlowValue) -> bool {
    FLOW_PAIRS.insert(key, value, 0).is_ok()
}

/// Returns true if all packets of this key's hosts and protocol take the stack, and notes that such a packet was seen
/// now.
#[inline(always)]
pub fn touch(key: &FlowKey) -> bool {
    flows::renew(FLOW_PAIRS.get_ptr_mut(key)) != flows::Entry::Absent
}
