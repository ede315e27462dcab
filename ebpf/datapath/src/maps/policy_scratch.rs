//! The working memory of judgements, by which the programs hand a packet to the function that judges it.

use core::sync::atomic::{Ordering, compiler_fence};

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use naru_abi::PolicyScratch;
use naru_packet::Ip;

#[btf_map]
static POLICY_SCRATCH: PerCpuArray<PolicyScratch, 1> = PerCpuArray::new();

/// Takes this CPU's scratch space; `None` while another program that was interrupted holds it.
#[inline(always)]
pub fn take() -> Option<&'static mut PolicyScratch> {
    // SAFETY: this CPU's own value; of several programs on it the mark leaves it to one.
    let scratch = unsafe { &mut *POLICY_SCRATCH.get_ptr_mut(0)? };
    if scratch.is_taken != 0 {
        return None;
    }
    scratch.is_taken = 1;
    compiler_fence(Ordering::SeqCst);
    Some(scratch)
}

/// The scratch space that this program has taken.
#[inline(always)]
pub fn taken() -> Option<&'static mut PolicyScratch> {
    // SAFETY: as in `take`; one function at a time uses it.
    POLICY_SCRATCH.get_ptr_mut(0).map(|scratch| unsafe { &mut *scratch })
}

const _: () = assert!(size_of::<Ip>() <= size_of::<[u32; 16]>() && align_of::<Ip>() <= align_of::<u32>());

/// Puts the packet's header into the scratch space.
#[inline(always)]
pub fn put_header(scratch: &mut PolicyScratch, ip: &Ip) {
    // SAFETY: there is room for it, as the assertion says.
    unsafe { scratch.ip.as_mut_ptr().cast::<Ip>().write(*ip) };
}

/// The header that [`put_header`] has put there.
#[inline(always)]
pub fn header(scratch: &PolicyScratch) -> &'static Ip {
    // SAFETY: nothing else is ever written there, and the map's value outlives the program's run.
    unsafe { &*scratch.ip.as_ptr().cast::<Ip>() }
}

/// Gives the scratch space back.
#[inline(always)]
pub fn give_back(scratch: &mut PolicyScratch) {
    compiler_fence(Ordering::SeqCst);
    scratch.is_taken = 0;
}
