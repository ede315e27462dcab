use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{PerCpuArray, PerCpuHashMap},
    macros::btf_map,
};
use naru_abi::{
    Counter, Hook, MAX_PODS, POD_SLOTS as SLOTS, PodCounters, PodSlot, STATS_ENTRIES, pod_slot, stats_index,
};

#[btf_map]
static STATS: PerCpuArray<Counter, { STATS_ENTRIES as usize }> = PerCpuArray::new();

#[btf_map]
static POD_SLOTS: PerCpuArray<PodSlot, { SLOTS as usize }> = PerCpuArray::new();

#[btf_map]
static POD_STATS: PerCpuHashMap<u32, PodSlot, { MAX_PODS as usize }, { BPF_F_NO_PREALLOC as usize }> =
    PerCpuHashMap::new();

/// Counts packets that ended at `hook` with the outcome of this [`naru_abi::Outcome::index`].
#[inline(always)]
pub fn ended(hook: Hook, outcome: u32, amount: Counter) {
    if let Some(counter) = STATS.get_ptr_mut(stats_index(hook, outcome as usize)) {
        // SAFETY: this CPU's own slot, and no program of ours interrupts another on it.
        add(unsafe { &mut *counter }, amount);
    }
}

/// Counts packets that the pod behind `ifindex` sent, by outcome.
#[inline(always)]
pub fn sent(ifindex: u32, outcome: u32, amount: Counter) {
    if let Some(counter) = of(ifindex).and_then(|counters| counters.outcomes.get_mut(outcome as usize)) {
        add(counter, amount);
    }
}

/// Counts packets that were handed to the pod behind `ifindex`.
#[inline(always)]
pub fn received(ifindex: u32, amount: Counter) {
    if let Some(counters) = of(ifindex) {
        add(&mut counters.rx, amount);
    }
}

/// Returns the pod's counters: from its slot or, if another pod has that, from the hash.
#[inline(always)]
fn of(ifindex: u32) -> Option<&'static mut PodCounters> {
    // SAFETY: this CPU's own values, and no program of ours interrupts another on it.
    let slot = unsafe { &mut *POD_SLOTS.get_ptr_mut(pod_slot(ifindex))? };
    if slot.ifindex == ifindex {
        return Some(&mut slot.counters);
    }
    // SAFETY: as above. The kernel may have used the element for another interface meanwhile.
    let slot = unsafe { &mut *POD_STATS.get_ptr_mut(ifindex)? };
    (slot.ifindex == ifindex).then_some(&mut slot.counters)
}

#[inline(always)]
fn add(counter: &mut Counter, amount: Counter) {
    counter.packets += amount.packets;
    counter.bytes += amount.bytes;
}
