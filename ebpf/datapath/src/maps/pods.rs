use aya_ebpf::{bindings::BPF_F_NO_PREALLOC, btf_maps::HashMap, macros::btf_map};
use naru_abi::{Addr, MAX_PODS, PodValue};
use naru_packet::Mac;

#[btf_map]
static PODS: HashMap<Addr, PodValue, { MAX_PODS as usize }, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// The pod of this node that holds `addr`.
#[inline(always)]
pub fn get(addr: &Addr) -> Option<&'static PodValue> {
    // SAFETY: the kernel keeps an element until the program ends; it changes only as a whole, or its MAC address in place.
    unsafe { PODS.get(addr) }
}

/// Notes the MAC address a pod sends from.
#[inline(always)]
pub fn learn(addr: &Addr, mac: Mac) {
    if let Some(pod) = PODS.get_ptr_mut(addr) {
        // SAFETY: as above. A reader on another CPU may see it half written: for one frame to a pod that is just changing
        // its address.
        unsafe { (*pod).pod_mac = mac };
    }
}

/// Sets a bit of [`naru_abi::pod_flags`] that says what `FLOWS` has of the pod.
#[inline(always)]
pub fn note_flows(addr: &Addr, flag: u32) {
    if let Some(pod) = PODS.get_ptr_mut(addr) {
        // SAFETY: as above. Programs set no other bit, and none is ever taken off.
        unsafe { (*pod).flags |= flag };
    }
}
