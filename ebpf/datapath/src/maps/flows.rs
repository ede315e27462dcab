use aya_ebpf::{bindings::BPF_F_NO_PREALLOC, btf_maps::HashMap, helpers::bpf_ktime_get_ns, macros::btf_map};
use naru_abi::{FlowKey, FlowValue, MAX_FLOWS};

#[btf_map]
static FLOWS: HashMap<FlowKey, FlowValue, { MAX_FLOWS as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// Permitted lag of `last_seen` in nanoseconds, so that a flow writes its entry at most once a second.
const LAG: u64 = 1_000_000_000;

/// Records the flow. Returns true if there was room.
#[inline(always)]
pub fn insert(key: &FlowKey) -> bool {
    FLOWS.insert(key, seen_now(), 0).is_ok()
}

/// The value of a flow that is seen now.
#[inline(always)]
pub fn seen_now() -> FlowValue {
    // SAFETY: reads a clock.
    FlowValue { last_seen: unsafe { bpf_ktime_get_ns() } }
}

/// Returns true if the flow is recorded.
#[inline(always)]
pub fn contains(key: &FlowKey) -> bool {
    FLOWS.get_ptr(key).is_some()
}

/// Forgets the flow.
#[inline(always)]
pub fn remove(key: &FlowKey) {
    // One that is gone is what is wanted.
    let _ = FLOWS.remove(key);
}

/// The result of a look-up of a flow.
#[derive(PartialEq, Eq)]
pub enum Entry {
    /// Nothing.
    Absent,
    /// An entry that is up to date.
    Current,
    /// An entry whose `last_seen` lagged behind, and which is renewed now.
    Renewed,
}

/// Looks for the flow, which is seen now.
#[inline(always)]
pub fn touch(key: &FlowKey) -> Entry {
    renew(FLOWS.get_ptr_mut(key))
}

/// The same of an element that was found.
#[inline(always)]
pub fn renew(found: Option<*mut FlowValue>) -> Entry {
    let Some(flow) = found else { return Entry::Absent };
    // SAFETY: the memory stays a map element's while the program runs, and its one field is written as a whole. If the
    // element is just being reused for another flow, that flow counts as seen, and stays one sweep longer. The helper
    // reads a clock.
    unsafe {
        let now = bpf_ktime_get_ns();
        if now.wrapping_sub((*flow).last_seen) <= LAG {
            return Entry::Current;
        }
        (*flow).last_seen = now;
    }
    Entry::Renewed
}
