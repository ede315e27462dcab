//! Flows to Services, in either direction: written by programs, swept by user space.
#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value, a key would be copied onto the stack"
)]

use core::sync::atomic::{Ordering, compiler_fence};

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST},
    btf_maps::{HashMap, LruHashMap, PerCpuArray},
    helpers::bpf_ktime_get_ns,
    macros::btf_map,
};
use naru_abi::{
    Addr, AnswerValue, FlowKey, FragmentKey, MAX_FRAGMENTS, MAX_TRANSLATIONS, ServiceScratch,
    TranslationValue, fingerprint, flow_state,
};

#[btf_map]
static TRANSLATIONS: HashMap<
    FlowKey,
    TranslationValue,
    { MAX_TRANSLATIONS as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();

#[btf_map]
static ANSWERS: HashMap<FlowKey, AnswerValue, { MAX_TRANSLATIONS as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

#[btf_map]
static FRAGMENTS: LruHashMap<FragmentKey, Addr, { MAX_FRAGMENTS as usize }> = LruHashMap::new();

#[btf_map]
static SERVICE_SCRATCH: PerCpuArray<ServiceScratch, 1> = PerCpuArray::new();

/// Permitted lag of `last_used` in nanoseconds, so that a flow writes its entries at most once a second.
pub const LAG: u64 = 1_000_000_000;
/// `EEXIST`, as helpers return it.
const EXISTS: i32 = -17;

/// Takes this CPU's scratch space; `None` while another program that was interrupted holds it.
#[inline(always)]
pub fn scratch() -> Option<&'static mut ServiceScratch> {
    // SAFETY: this CPU's own value; of several programs on it the mark leaves it to one.
    let scratch = unsafe { &mut *SERVICE_SCRATCH.get_ptr_mut(0)? };
    if scratch.is_taken != 0 {
        return None;
    }
    scratch.is_taken = 1;
    compiler_fence(Ordering::SeqCst);
    Some(scratch)
}

/// Gives the scratch space back.
#[inline(always)]
pub fn give_back(scratch: &mut ServiceScratch) {
    compiler_fence(Ordering::SeqCst);
    scratch.is_taken = 0;
}

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: reads a clock.
    unsafe { bpf_ktime_get_ns() }
}

/// Finds the flow of `scratch.key` and copies its entry into `scratch.translation`; this packet of it is seen now, and
/// is such a `step` of it. Whether there is one.
#[inline(always)]
pub fn follow(scratch: &mut ServiceScratch, step: u32) -> bool {
    let Some(found) = TRANSLATIONS.get_ptr_mut(&scratch.key) else { return false };
    // SAFETY: the memory stays that of an element while the program runs; of which, the fingerprint sees to. The words
    // that are written are aligned; used for another flow right then, that one counts as seen.
    unsafe {
        let copy = &mut scratch.translation;
        (copy.backend, copy.service, copy.slot) = ((*found).backend, (*found).service, (*found).slot);
        (copy.backend_port, copy.client_port) = ((*found).backend_port, (*found).client_port);
        (copy.state, copy.last_used) = ((*found).state, (*found).last_used);
        compiler_fence(Ordering::Acquire);
        if (*found).fingerprint != fingerprint(&scratch.key) {
            return false;
        }
        let now = now();
        if now.wrapping_sub(copy.last_used) > LAG {
            (*found).last_used = now;
        }
        if step != 0 {
            (*found).state = copy.state | step;
        }
    }
    true
}

/// The same of `scratch.answers` and `scratch.answer`.
#[inline(always)]
pub fn follow_answer(scratch: &mut ServiceScratch, step: u32) -> bool {
    let Some(found) = ANSWERS.get_ptr_mut(&scratch.answers) else { return false };
    // SAFETY: as above.
    unsafe {
        let copy = &mut scratch.answer;
        copy.service = (*found).service;
        (copy.service_port, copy.client_port) = ((*found).service_port, (*found).client_port);
        (copy.state, copy.last_used) = ((*found).state, (*found).last_used);
        compiler_fence(Ordering::Acquire);
        if (*found).fingerprint != fingerprint(&scratch.answers) {
            return false;
        }
        let now = now();
        if now.wrapping_sub(copy.last_used) > LAG {
            (*found).last_used = now;
        }
        if copy.state | step != copy.state {
            (*found).state = copy.state | step;
        }
    }
    true
}

/// Says that such packets answer a connection straight to the pod, not the flow whose entry they found.
#[inline(always)]
pub fn leave_direct(answers: &FlowKey) {
    if let Some(found) = ANSWERS.get_ptr_mut(answers) {
        // SAFETY: as above; an aligned word. Used for another flow right then, that one is not translated: its client
        // gets an answer that it does not know, and begins anew.
        unsafe { (*found).state |= flow_state::DIRECT };
    }
}

/// The state of the answers of that key, and when one was seen last; `None` if there is no entry.
#[inline(always)]
pub fn answer_state(key: &FlowKey) -> Option<(u32, u64)> {
    // SAFETY: as above.
    let found = unsafe { ANSWERS.get(key) }?;
    let seen = (found.state, found.last_used);
    compiler_fence(Ordering::Acquire);
    (found.fingerprint == fingerprint(key)).then_some(seen)
}

/// Returns true if the entry of `answers` belongs to no other live flow: only to the flow of `key` itself, to one that
/// is over, or to none. A function of its own, for a stack of its own.
#[inline(never)]
pub fn is_left_over(answers: &FlowKey, key: &FlowKey) -> bool {
    // SAFETY: as above.
    let Some(found) = (unsafe { ANSWERS.get(answers) }) else { return true };
    let owner = FlowKey {
        source: answers.destination,
        destination: found.service,
        source_port: found.client_port,
        destination_port: found.service_port,
        protocol: answers.protocol,
    };
    let state = found.state;
    compiler_fence(Ordering::Acquire);
    if found.fingerprint != fingerprint(answers) || owner == *key && state & flow_state::DIRECT == 0 {
        return true;
    }
    if state & flow_state::DIRECT != 0 {
        return is_over(state, state);
    }
    // SAFETY: as above.
    match unsafe { TRANSLATIONS.get(&owner) } {
        Some(flow) => is_over(flow.state, state),
        None => true,
    }
}

/// Result of [`claim`].
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The entry is there.
    Made,
    /// There is one already.
    Taken,
    /// There is no room.
    Full,
}

/// Enters `scratch.answer` under `scratch.answers`, in the place of another's entry if `anyway`.
#[inline(always)]
pub fn claim(scratch: &mut ServiceScratch, anyway: bool) -> Claim {
    scratch.answer.fingerprint = fingerprint(&scratch.answers);
    let flags = if anyway { 0 } else { BPF_NOEXIST.into() };
    match ANSWERS.insert(&scratch.answers, &scratch.answer, flags) {
        Ok(()) => Claim::Made,
        Err(EXISTS) => Claim::Taken,
        Err(_) => Claim::Full,
    }
}

/// Enters `scratch.translation` under `scratch.key`; whether there was room.
#[inline(always)]
pub fn enter(scratch: &mut ServiceScratch) -> bool {
    scratch.translation.fingerprint = fingerprint(&scratch.key);
    TRANSLATIONS.insert(&scratch.key, &scratch.translation, 0).is_ok()
}

/// Forgets the flow of `scratch.key`, and its answers of `scratch.answers` if they still are its own.
#[inline(always)]
pub fn forget(scratch: &ServiceScratch) {
    // What is gone is what is wanted.
    let _ = TRANSLATIONS.remove(&scratch.key);
    forget_answers(scratch);
}

/// Forgets the answers of `scratch.answers` if they are those of `scratch.key`.
#[inline(always)]
pub fn forget_answers(scratch: &ServiceScratch) {
    // SAFETY: as above.
    let Some(found) = (unsafe { ANSWERS.get(&scratch.answers) }) else { return };
    let key = &scratch.key;
    let is_own = found.state & flow_state::DIRECT == 0
        && found.service == key.destination
        && found.service_port == key.destination_port
        && found.client_port == key.source_port;
    if is_own {
        let _ = ANSWERS.remove(&scratch.answers);
    }
}

/// Remembers from which Service the later fragments of an answer are to come.
#[inline(always)]
pub fn remember_fragments(key: &FragmentKey, service: &Addr) {
    // Where there is no room the answer is lost, as one of its fragments might be.
    let _ = FRAGMENTS.insert(key, service, 0);
}

/// From which Service such a fragment is to come.
#[inline(always)]
pub fn service_of_fragment(key: &FragmentKey) -> Option<&'static Addr> {
    // SAFETY: as above. Of another packet's fragments at worst, whose sum is wrong then.
    unsafe { FRAGMENTS.get(key) }
}

/// Returns true if the flow's end was seen: a reset by either side, or both having said that they send no more.
#[inline(always)]
pub fn is_over(flow: u32, answers: u32) -> bool {
    (flow | answers) & flow_state::RESET != 0 || flow & answers & flow_state::FINISHED != 0
}
