use core::sync::atomic::{Ordering, compiler_fence};

use aya_ebpf::{bindings::BPF_F_NO_PREALLOC, btf_maps::HashMap, macros::btf_map};
use naru_abi::{InterfaceValue, MAX_PODS};
use naru_packet::Mac;

#[btf_map]
static INTERFACES: HashMap<u32, InterfaceValue, { MAX_PODS as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// Facts that hold for everything that the pod behind a host veth sends. As with [`super::pods::Pod`], they count only
/// if [`Interface::is_of`] holds after the last word was read.
#[derive(Clone, Copy)]
pub struct Interface(&'static InterfaceValue);

impl Interface {
    /// Bits of [`naru_abi::pod_flags`].
    #[inline(always)]
    pub fn flags(self) -> u32 {
        self.0.flags
    }

    /// The set of policies that isolate the pod.
    #[inline(always)]
    pub fn subject(self) -> u32 {
        self.0.subject
    }

    /// The MAC address of the host end.
    #[inline(always)]
    pub fn host_mac(self) -> &'static Mac {
        &self.0.host_mac
    }

    /// The MAC address that the pod was assigned.
    #[inline(always)]
    pub fn pod_mac(self) -> Mac {
        self.0.pod_mac
    }

    /// Returns true if everything read so far belongs to this interface.
    #[inline(always)]
    pub fn is_of(self, ifindex: u32) -> bool {
        compiler_fence(Ordering::Acquire);
        self.0.ifindex == ifindex
    }
}

/// The entry of this host veth.
#[inline(always)]
pub fn get(ifindex: u32) -> Option<Interface> {
    // SAFETY: the memory stays that of an element while the program runs; of which, `Interface` sees to.
    unsafe { INTERFACES.get(ifindex) }.map(Interface)
}
