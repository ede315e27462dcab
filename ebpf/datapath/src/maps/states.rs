//! Connections of pods that policies isolate.

use core::sync::atomic::{Ordering, compiler_fence};

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST},
    btf_maps::HashMap,
    helpers::bpf_ktime_get_ns,
    macros::btf_map,
};
use naru_abi::{
    FlowKey, MAX_STATES, PolicyScratch, STATE_BUCKETS, STATE_TICK, STATE_WAYS, State, StateKey, StateValue,
    fingerprint, state_flags,
};

use super::policy_scratch;

#[btf_map]
static STATES: HashMap<StateKey, StateValue, { MAX_STATES as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// Lifetimes in units of [`STATE_TICK`]: of a connection that nobody answered, of one that was answered once, of one
/// that goes on, and of a TCP connection without a socket.
const UNANSWERED: u32 = ticks(30);
const ANSWERED: u32 = ticks(30);
const STREAM: u32 = ticks(180);
const HELD: u32 = ticks(4_000);
/// Idle times after which a connection gives its place to a new one that finds no other.
const UNANSWERED_AT_LEAST: u32 = ticks(10);
const ANSWERED_AT_LEAST: u32 = ticks(2);

const fn ticks(seconds: u64) -> u32 {
    ((seconds * 1_000_000_000) >> STATE_TICK) as u32
}

/// The time in units of [`STATE_TICK`].
#[inline(always)]
pub fn now() -> u32 {
    // SAFETY: reads a clock.
    (unsafe { bpf_ktime_get_ns() } >> STATE_TICK) as u32
}

#[inline(always)]
const fn lifetime(flags: u32) -> u32 {
    match flags {
        flags if flags & state_flags::TCP != 0 => HELD,
        flags if flags & state_flags::STREAM != 0 => STREAM,
        flags if flags & state_flags::ANSWERED != 0 => ANSWERED,
        _ => UNANSWERED,
    }
}

/// The idle time that a connection may claim its place for.
#[inline(always)]
const fn claim(flags: u32) -> u32 {
    match flags {
        flags if flags & state_flags::HELD != 0 => HELD,
        // Its socket knows the rest.
        flags if flags & state_flags::TCP != 0 => 1,
        flags if flags & state_flags::STREAM != 0 => STREAM,
        flags if flags & state_flags::ANSWERED != 0 => ANSWERED_AT_LEAST,
        _ => UNANSWERED_AT_LEAST,
    }
}

/// The connection that a packet of `key` opens, as it is found in the table.
pub struct Found {
    /// Bits of [`state_flags`].
    pub flags: u32,
    /// Time since its last packet, in units of [`STATE_TICK`].
    pub idle: u32,
}

/// Looks for the connection of the pod behind `scratch.ifindex` that `scratch.opened` opens, which is answered now.
#[inline(always)]
pub fn answered(scratch: &mut PolicyScratch) -> Option<Found> {
    reverse(scratch);
    let wanted = identify(&scratch.opened, scratch.ifindex, &mut scratch.bucket);
    let state = way(&scratch.bucket, wanted)?;
    // SAFETY: the memory stays that of an element while the program runs. Its words are aligned; used for another
    // bucket right then, a connection of that one counts as seen.
    unsafe {
        let (seen, flags, now) = ((*state).seen, (*state).flags, now());
        compiler_fence(Ordering::Acquire);
        let idle = now.wrapping_sub(seen);
        if (*state).fingerprint != wanted || idle > lifetime(flags) {
            return None;
        }
        // With a socket, the time is that of the last look at it.
        if flags & (state_flags::TCP | state_flags::HELD) != state_flags::TCP && idle != 0 {
            (*state).seen = now;
        }
        if flags & state_flags::ANSWERED == 0 {
            (*state).flags = flags | state_flags::ANSWERED;
        }
        Some(Found { flags, idle })
    }
}

/// Returns true if the connection of `scratch.flow` is known, whichever end opened it.
#[inline(always)]
pub fn has(scratch: &mut PolicyScratch) -> bool {
    reverse(scratch);
    let bucket = &mut scratch.bucket;
    is_live(&scratch.flow, scratch.ifindex, bucket) || is_live(&scratch.opened, scratch.ifindex, bucket)
}

#[inline(always)]
fn is_live(flow: &FlowKey, ifindex: u32, bucket: &mut StateKey) -> bool {
    let wanted = identify(flow, ifindex, bucket);
    let Some(state) = way(bucket, wanted) else { return false };
    // SAFETY: as in `answered`.
    unsafe {
        let (seen, flags) = ((*state).seen, (*state).flags);
        compiler_fence(Ordering::Acquire);
        (*state).fingerprint == wanted && now().wrapping_sub(seen) <= lifetime(flags)
    }
}

/// Enters the connection that `scratch.flow` opens, or `scratch.opened` if `is_answer`, with these flags; one that is
/// there goes on. Returns true if there was room.
#[inline(always)]
pub fn enter(is_answer: bool, flags: u32) -> bool {
    policy_enter(is_answer.into(), flags) != 0
}

/// [`enter`]; global, as [`crate::policy`] says.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn policy_enter(is_answer: u32, flags: u32) -> u32 {
    policy_scratch::taken().is_some_and(|scratch| entered(scratch, is_answer != 0, flags)).into()
}

#[expect(clippy::needless_borrows_for_generic_args, reason = "values would be copied to the stack")]
#[inline(always)]
fn entered(scratch: &mut PolicyScratch, is_answer: bool, flags: u32) -> bool {
    let flow = if is_answer { &scratch.opened } else { &scratch.flow };
    let wanted = identify(flow, scratch.ifindex, &mut scratch.bucket);
    let now = now();
    let Some(bucket) = STATES.get_ptr_mut(&scratch.bucket) else {
        scratch.made.key = scratch.bucket;
        // One by one: an array would be made on the stack first.
        for at in 1..STATE_WAYS {
            let state = &raw mut scratch.made.ways[at];
            // SAFETY: a word of the scratch space.
            unsafe { (&raw mut (*state).fingerprint).write_volatile(0) };
        }
        scratch.made.ways[0] = State { fingerprint: wanted, seen: now, flags };
        // Another CPU may have made it: that packet's connection is entered by its next one.
        return STATES.insert(&scratch.bucket, &scratch.made, BPF_NOEXIST.into()).is_ok();
    };
    // Two loops without a memory: the verifier would follow each of its values apart.
    for at in 0..STATE_WAYS {
        // SAFETY: as above.
        let state = unsafe { &mut (*bucket).ways[at] };
        if state.fingerprint == wanted {
            go_on(state, now, flags);
            return true;
        }
    }
    for at in 0..STATE_WAYS {
        // SAFETY: as above. Whoever reads meanwhile finds no connection, or this one whole.
        unsafe {
            let state = &raw mut (*bucket).ways[at];
            let idle = now.wrapping_sub((*state).seen);
            if (*state).fingerprint != 0 && idle <= claim((*state).flags) {
                continue;
            }
            (&raw mut (*state).fingerprint).write_volatile(0);
            (*state).seen = now;
            (*state).flags = flags;
            compiler_fence(Ordering::Release);
            (&raw mut (*state).fingerprint).write_volatile(wanted);
        }
        return true;
    }
    false
}

/// Fills in the flow that the packet would answer.
#[inline(always)]
fn reverse(scratch: &mut PolicyScratch) {
    let (flow, opened) = (&scratch.flow, &mut scratch.opened);
    (opened.source, opened.destination) = (flow.destination, flow.source);
    (opened.source_port, opened.destination_port) = (flow.destination_port, flow.source_port);
    opened.protocol = flow.protocol;
}

/// One more packet of whoever opened the connection; of TCP, the connection as it is known now.
#[inline(always)]
fn go_on(state: &mut State, now: u32, flags: u32) {
    let known = state.flags;
    let is_over = now.wrapping_sub(state.seen) > lifetime(known);
    let flags = match known {
        _ if flags & state_flags::TCP != 0 || is_over => flags,
        known if known & state_flags::ANSWERED != 0 => known | flags | state_flags::STREAM,
        known => known | flags,
    };
    if known != flags {
        state.flags = flags;
    }
    if state.seen != now {
        state.seen = now;
    }
}

/// Fills in the bucket of the connection and returns what it is known by there.
#[inline(always)]
fn identify(flow: &FlowKey, ifindex: u32, bucket: &mut StateKey) -> u64 {
    // Never 0, and another one for another pod.
    let all = (fingerprint(flow) ^ u64::from(ifindex) << 1) | 1;
    *bucket = StateKey { ifindex, bucket: (all >> 32) as u32 & (STATE_BUCKETS - 1) };
    all
}

#[inline(always)]
fn way(bucket: &StateKey, wanted: u64) -> Option<*mut State> {
    let found = STATES.get_ptr_mut(bucket)?;
    for at in 0..STATE_WAYS {
        // SAFETY: as above.
        let state = unsafe { &raw mut (*found).ways[at] };
        // SAFETY: as above.
        if unsafe { (*state).fingerprint } == wanted {
            return Some(state);
        }
    }
    None
}
