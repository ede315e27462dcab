use core::sync::atomic::{Ordering, compiler_fence};

use aya_ebpf::{bindings::BPF_F_NO_PREALLOC, btf_maps::HashMap, macros::btf_map};
use naru_abi::{Addr, MAX_PODS, PodValue, look};
use naru_packet::{Mac, Macs};

#[btf_map]
static PODS: HashMap<Addr, PodValue, { MAX_PODS as usize }, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// The entry of an address. The kernel may reuse its element for another address at any time (6.1 and newer), so what
/// was read counts only if [`Pod::is_of`] holds after the last word was read.
#[derive(Clone, Copy)]
pub struct Pod(&'static PodValue);

impl Pod {
    /// Interface index of the host veth.
    #[inline(always)]
    pub fn ifindex(self) -> u32 {
        self.0.ifindex
    }

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

    /// As [`PodValue::netns`].
    #[inline(always)]
    pub fn netns(self) -> u32 {
        self.0.netns
    }

    /// Largest packet that the pod takes.
    #[inline(always)]
    pub fn mtu(self) -> u32 {
        self.0.mtu
    }

    /// Maps in which to look for flows that its packets answer; bits of [`naru_abi::look`].
    #[inline(always)]
    pub fn sends_answers(self) -> u32 {
        self.0.sends_answers
    }

    /// The same of answers that it receives.
    #[inline(always)]
    pub fn receives_answers(self) -> u32 {
        self.0.receives_answers
    }

    /// The MAC address of the pod's end, as last seen.
    #[inline(always)]
    pub fn mac(self) -> Mac {
        self.0.pod_mac
    }

    /// The MAC address of the host end.
    #[inline(always)]
    pub fn host_mac(self) -> &'static Mac {
        &self.0.host_mac
    }

    /// The MAC addresses of a frame to the pod.
    #[inline(always)]
    pub fn macs(self) -> Macs {
        Macs { destination: self.0.pod_mac, source: self.0.host_mac }
    }

    /// Returns true if everything read so far belongs to this address.
    #[inline(always)]
    pub fn is_of(self, addr: &Addr) -> bool {
        compiler_fence(Ordering::Acquire);
        self.0.address == *addr
    }

    /// Returns true if everything read so far belongs to the pod behind this interface, by whichever of its addresses.
    #[inline(always)]
    pub fn is_behind(self, ifindex: u32) -> bool {
        compiler_fence(Ordering::Acquire);
        self.0.ifindex == ifindex
    }
}

/// The pod of this node that holds `addr`.
#[inline(always)]
pub fn get(addr: &Addr) -> Option<Pod> {
    // SAFETY: the memory stays that of an element while the program runs; of which, `Pod` sees to.
    unsafe { PODS.get(addr) }.map(Pod)
}

/// Learns the MAC address from which a pod sends. A reader on another CPU may see it half written: this affects one
/// frame, to a pod that is just changing its address.
#[inline(always)]
pub fn learn(addr: &Addr, mac: Mac) {
    if let Some(value) = own(addr) {
        // SAFETY: as in `get`; bytes that only programs write.
        unsafe { (&raw mut (*value).pod_mac).write(mac) };
    }
}

/// Enables the `FLOWS` look-up for packets that the pod sends.
#[inline(always)]
pub fn mark_sender(addr: &Addr) {
    if let Some(value) = own(addr) {
        // SAFETY: as in `get`; a byte that is only ever set.
        unsafe { byte_of(&raw mut (*value).sends_answers, look::FLOWS).write_volatile(1) };
    }
}

/// The same of what it receives.
#[inline(always)]
pub fn mark_receiver(addr: &Addr) {
    if let Some(value) = own(addr) {
        // SAFETY: as in `mark_sender`.
        unsafe { byte_of(&raw mut (*value).receives_answers, look::FLOWS).write_volatile(1) };
    }
}

/// Enables the `FLOW_PAIRS` look-up for packets that the pod sends or receives.
#[inline(always)]
pub fn mark_in_pairs(addr: &Addr) {
    if let Some(value) = own(addr) {
        // SAFETY: as in `mark_sender`.
        unsafe {
            byte_of(&raw mut (*value).sends_answers, look::PAIRS).write_volatile(1);
            byte_of(&raw mut (*value).receives_answers, look::PAIRS).write_volatile(1);
        }
    }
}

/// From now on what the pod receives is looked for in `ANSWERS`. Whether there is such a pod.
#[inline(always)]
pub fn mark_client(addr: &Addr) -> bool {
    let Some(value) = own(addr) else { return false };
    // SAFETY: as in `mark_sender`.
    unsafe {
        byte_of(&raw mut (*value).sends_answers, look::SERVICES).write_volatile(1);
        byte_of(&raw mut (*value).receives_answers, look::SERVICES).write_volatile(1);
    }
    true
}

/// From now on what the pod sends straight to another is looked for in `TRANSLATIONS`, too. As [`mark_client`].
#[inline(always)]
pub fn mark_clashes(addr: &Addr) -> bool {
    let Some(value) = own(addr) else { return false };
    // SAFETY: as in `mark_sender`.
    unsafe { byte_of(&raw mut (*value).sends_answers, look::CLASHES).write_volatile(1) };
    true
}

/// The byte of a word that has this bit: programs set one each, and none takes back another's.
#[inline(always)]
fn byte_of(word: *mut u32, bit: u32) -> *mut u8 {
    word.cast::<u8>().wrapping_add((bit.trailing_zeros() / 8) as usize)
}

/// Returns the element of `addr`, to be written to. If it is just being reused for another address, that one gets
/// something harmless: a needless look-up, or a MAC address that its pod's next packet corrects.
#[inline(always)]
fn own(addr: &Addr) -> Option<*mut PodValue> {
    // SAFETY: as in `get`.
    PODS.get_ptr_mut(addr).filter(|value| unsafe { (**value).address } == *addr)
}
