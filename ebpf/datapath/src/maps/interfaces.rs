use aya_ebpf::{bindings::BPF_F_NO_PREALLOC, btf_maps::HashMap, macros::btf_map};
use naru_abi::{InterfaceValue, MAX_PODS};

#[btf_map]
static INTERFACES: HashMap<u32, InterfaceValue, { MAX_PODS as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// What holds for everything the pod behind this host veth sends.
#[inline(always)]
pub fn get(ifindex: u32) -> Option<&'static InterfaceValue> {
    // SAFETY: the kernel keeps an element until the program ends, and it changes only as a whole.
    unsafe { INTERFACES.get(ifindex) }
}
