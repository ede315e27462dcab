use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use naru_abi::{Addr, MAX_NEXT_HOPS, NextHopValue};

/// Cached next hops. Pairs of addresses that hash to one place share it.
#[btf_map]
static NEXT_HOPS: PerCpuArray<NextHopValue, { MAX_NEXT_HOPS as usize }> = PerCpuArray::new();

/// Returns the place of a pair of addresses on this CPU, whatever is in it.
#[inline(always)]
pub fn place(source: &Addr, destination: &Addr) -> Option<&'static mut NextHopValue> {
    let fold = |addr: &Addr| addr.words().into_iter().fold(0, |all, word| all ^ word);
    // Neighbouring addresses at both ends must not hash to one place.
    let mixed = fold(source).rotate_left(3) ^ fold(destination);
    let place = (mixed ^ mixed >> 8 ^ mixed >> 16 ^ mixed >> 24) & (MAX_NEXT_HOPS - 1);
    // SAFETY: this CPU's own entry, and no program of ours interrupts another on it.
    NEXT_HOPS.get_ptr_mut(place).map(|next_hop| unsafe { &mut *next_hop })
}
