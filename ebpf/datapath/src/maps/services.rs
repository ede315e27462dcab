//! Services and their backends: user space alone writes these entries.
#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value, a key would be copied onto the stack"
)]

use core::sync::atomic::{Ordering, compiler_fence};

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{Array, HashMap, LruHashMap, PerCpuHashMap},
    macros::btf_map,
};
use naru_abi::{
    Addr, AffinityKey, AffinityValue, BackendKey, BackendValue, MAX_AFFINITY, MAX_BACKENDS, MAX_MEMBERS,
    MAX_SERVICES, MemberKey, ServiceCounters, ServiceKey, ServiceState, ServiceValue,
};

const LATER: usize = BPF_F_NO_PREALLOC as usize;

#[btf_map]
static SERVICE_STATE: Array<ServiceState, 1> = Array::new();

#[btf_map]
static SERVICES: HashMap<ServiceKey, ServiceValue, { MAX_SERVICES as usize }, LATER> = HashMap::new();

#[btf_map]
static BACKENDS: HashMap<BackendKey, BackendValue, { MAX_BACKENDS as usize }, LATER> = HashMap::new();

#[btf_map]
static MEMBERS: HashMap<MemberKey, u32, { MAX_MEMBERS as usize }, LATER> = HashMap::new();

#[btf_map]
static AFFINITY: LruHashMap<AffinityKey, AffinityValue, { MAX_AFFINITY as usize }> = LruHashMap::new();

#[btf_map]
static SERVICE_STATS: PerCpuHashMap<u32, ServiceCounters, { MAX_SERVICES as usize }, LATER> =
    PerCpuHashMap::new();

/// Returns the state that all Services share.
#[inline(always)]
pub fn state() -> Option<&'static ServiceState> {
    SERVICE_STATE.get(0)
}

/// Returns true if the address may be one of a Service; whether packets are looked for there or not.
#[inline(always)]
pub fn may_be(destination: &Addr) -> bool {
    let Some(state) = state() else { return false };
    let range = if destination.is_v4() { &state.v4 } else { &state.v6 };
    range.holds(destination)
}

/// Returns true if there is such a Service.
#[inline(always)]
pub fn contains(key: &ServiceKey) -> bool {
    // SAFETY: as in `load`.
    unsafe { SERVICES.get(key) }.is_some_and(|found| found.key == *key)
}

/// Copies the Service of `copy`'s key into it; whether there is one.
#[inline(always)]
pub fn load(copy: &mut ServiceValue) -> bool {
    // SAFETY: the memory stays that of an element while the program runs; of which, the comparison sees to.
    let Some(found) = (unsafe { SERVICES.get(&copy.key) }) else { return false };
    (copy.id, copy.count) = (found.id, found.count);
    (copy.flags, copy.affinity) = (found.flags, found.affinity);
    compiler_fence(Ordering::Acquire);
    found.key == copy.key
}

/// Copies the backend of `copy`'s key into it; whether there is one.
#[inline(always)]
pub fn load_backend(copy: &mut BackendValue) -> bool {
    // SAFETY: as above.
    let Some(found) = (unsafe { BACKENDS.get(&copy.key) }) else { return false };
    (copy.address, copy.port) = (found.address, found.port);
    compiler_fence(Ordering::Acquire);
    found.key == copy.key
}

/// Returns true if this backend is in this slot now.
#[inline(always)]
pub fn is_backend(key: &BackendKey, address: &Addr, port: u16) -> bool {
    // SAFETY: as above.
    let Some(found) = (unsafe { BACKENDS.get(key) }) else { return false };
    let is_so = found.address == *address && found.port == port;
    compiler_fence(Ordering::Acquire);
    is_so && found.key == *key
}

/// The slot of a backend of a Service with affinity; `None` if it is none now.
#[inline(always)]
pub fn slot_of(member: &MemberKey) -> Option<u32> {
    // SAFETY: as above; a slot of another is found out when it is compared with the backend.
    unsafe { MEMBERS.get(member) }.copied()
}

/// Returns the backend of a client's last new flow to a Service.
#[inline(always)]
pub fn affinity_of(key: &AffinityKey) -> Option<&'static AffinityValue> {
    // SAFETY: as above. Of another client it is a backend of this Service as good as any, as `slot_of` finds out.
    unsafe { AFFINITY.get(key) }
}

/// Remembers where a client's flow goes.
#[inline(always)]
pub fn remember(key: &AffinityKey, value: &AffinityValue) {
    // Where there is no room the client is served by any backend, as if it were a new one.
    let _ = AFFINITY.insert(key, value, 0);
}

/// The counters of a Service on this CPU.
#[inline(always)]
pub fn counters(id: u32) -> Option<&'static mut ServiceCounters> {
    // SAFETY: this CPU's own values, and no program of ours interrupts another on it.
    SERVICE_STATS.get_ptr_mut(id).map(|counters| unsafe { &mut *counters })
}
