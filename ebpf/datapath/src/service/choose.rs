//! Which backend a new flow goes to.

use aya_ebpf::helpers::bpf_get_prandom_u32;
use naru_abi::{BackendKey, ServiceScratch};

use crate::maps::services;

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// Fills in the backend for a new flow of `scratch.key` to `scratch.service`: the one that session affinity asks for,
/// else any. Whether there is one. A function of its own, for a stack of its own.
#[inline(never)]
pub fn backend(scratch: &mut ServiceScratch, now: u64) -> bool {
    if scratch.service.affinity != 0 && by_affinity(scratch, now) {
        return true;
    }
    // SAFETY: a number.
    let chance = unsafe { bpf_get_prandom_u32() };
    // The slot may have been given up since the Service's entry was read.
    drawn(scratch, chance) || services::load(&mut scratch.service) && drawn(scratch, chance)
}

/// Fills in the backend in the slot that `chance`, of all numbers of 32 bits, falls on.
#[inline(always)]
fn drawn(scratch: &mut ServiceScratch, chance: u32) -> bool {
    let slot = (u64::from(chance) * u64::from(scratch.service.count)) >> 32;
    scratch.backend.key = BackendKey { service: scratch.service.id, slot: slot as u32 };
    services::load_backend(&mut scratch.backend)
}

/// The backend that the client had last, if it had one lately and that still is one.
#[inline(always)]
fn by_affinity(scratch: &mut ServiceScratch, now: u64) -> bool {
    (scratch.affinity.client, scratch.affinity.service) = (scratch.key.source, scratch.service.id);
    let Some(last) = services::affinity_of(&scratch.affinity) else { return false };
    if now.wrapping_sub(last.last_used) > u64::from(scratch.service.affinity) * SECOND {
        return false;
    }
    (scratch.backend.address, scratch.backend.port) = (last.address, last.port);
    member(scratch);
    let Some(slot) = services::slot_of(&scratch.member) else { return false };
    scratch.backend.key = BackendKey { service: scratch.service.id, slot };
    true
}

/// Remembers where the client's flow goes, where it is to stay.
#[inline(always)]
pub fn stay(scratch: &mut ServiceScratch, now: u64) {
    (scratch.affinity.client, scratch.affinity.service) = (scratch.key.source, scratch.service.id);
    (scratch.chosen.last_used, scratch.chosen.port) = (now, scratch.backend.port);
    scratch.chosen.address = scratch.backend.address;
    services::remember(&scratch.affinity, &scratch.chosen);
}

/// Returns true if the backend still is one: it may have gone since it was chosen.
#[inline(always)]
pub fn is_still(scratch: &mut ServiceScratch) -> bool {
    let backend = &scratch.backend;
    if services::is_backend(&backend.key, &backend.address, backend.port) {
        return true;
    }
    // It may only have got another slot.
    scratch.service.affinity != 0 && {
        member(scratch);
        services::slot_of(&scratch.member).is_some()
    }
}

#[inline(always)]
fn member(scratch: &mut ServiceScratch) {
    (scratch.member.address, scratch.member.port) = (scratch.backend.address, scratch.backend.port);
    scratch.member.service = scratch.service.id;
}
