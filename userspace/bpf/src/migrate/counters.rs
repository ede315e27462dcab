//! Carrying counters over, each exactly once and never backwards.
//!
//! A counter is one CPU's, and programs add to it without a lock. So it is moved on that CPU, from process context:
//! there programs come in between two instructions of ours, never the other way round, and what is added and taken
//! away in one instruction each is neither lost nor counted twice, whoever counts meanwhile and wherever the process
//! is killed. Packets that old programs count after a first pass are carried by the next one. Counters of a CPU that
//! this process may not run on are left behind.

use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{MapData, PerCpuArray, PerCpuHashMap, PerCpuValues};
use naru_abi::{Plain, maps, pod_slot};

use super::{
    abi4::{self, OUTCOMES_THEN, SLOT_COUNTERS},
    mover::{self, Mover},
};
use crate::{
    Error, Pins, Result,
    counters::Counters,
    map::{self, Raw, failed},
};

/// Counters to be moved: the keys in both maps, and the CPUs on which something was counted.
struct Job {
    then: u32,
    now: u32,
    cpus: Vec<bool>,
}

/// Makes room for the counters of every pod that had some, at zero; existing counters keep their values.
pub(super) fn begin(older: &Pins, pins: &Pins) -> Result<()> {
    let mut counters = Counters::open(pins)?;
    let counted: Vec<u32> = slots(older)?.iter().chain(&others(older)?).map(|job| job.now).collect();
    for ifindex in &counted {
        if counters.get(*ifindex)?.is_none() {
            counters.start(*ifindex)?;
        }
    }
    for ifindex in counters.list()?.into_iter().filter(|ifindex| !counted.contains(ifindex)) {
        counters.stop(ifindex)?;
    }
    Ok(())
}

/// Moves everything that the old maps have counted since they were made, or since the last call.
pub(super) fn carry(older: &Pins, pins: &Pins) -> Result<()> {
    let counters = Counters::open(pins)?;
    carry_map(older, (maps::STATS, maps::STATS), pins, &[(0, 0), (1, 1)], stats(older)?)?;
    for (from, base, jobs) in
        [(maps::POD_SLOTS, SLOT_COUNTERS, slots(older)?), (maps::POD_STATS, 0, others(older)?)]
    {
        let (in_slots, elsewhere): (Vec<Job>, Vec<Job>) =
            jobs.into_iter().partition(|job| counters.has_slot(job.now).unwrap_or(false));
        let in_slots = in_slots.into_iter().map(|job| Job { now: pod_slot(job.now), ..job }).collect();
        let words = words(base, Counters::SLOT_WORD);
        carry_map(older, (from, maps::POD_SLOTS), pins, &words, in_slots)?;
        carry_map(older, (from, maps::POD_STATS), pins, &words, elsewhere)?;
    }
    Ok(())
}

/// Words of eight bytes of a pod's counters, then and now.
fn words(then: usize, now: usize) -> Vec<(usize, usize)> {
    let places = abi4::outcomes();
    // Received packets first, then an outcome after the other, two words each.
    let counters =
        [(0, 0)].into_iter().chain((0..OUTCOMES_THEN).filter_map(|at| Some((at + 1, places[at]? + 1))));
    counters.flat_map(|(a, b)| [0, 1].map(|word| (then + 2 * a + word, now + 2 * b + word))).collect()
}

fn carry_map(
    older: &Pins,
    (from, to): (&'static str, &'static str),
    pins: &Pins,
    words: &[(usize, usize)],
    jobs: Vec<Job>,
) -> Result<()> {
    if jobs.is_empty() {
        return Ok(());
    }
    let (old, new) = (map::data(&older.map(from), from)?, map::data(&pins.map(to), to)?);
    let run = |fds: (BorrowedFd<'_>, BorrowedFd<'_>)| {
        let mover = Mover::new(fds, words)?;
        mover::on_each_cpu(|cpu| {
            let due = jobs.iter().filter(|job| job.cpus.get(cpu).copied().unwrap_or(true));
            due.into_iter().try_for_each(|job| mover.run(job.then, job.now))
        })
    };
    run((old.fd().as_fd(), new.fd().as_fd())).map_err(|source| Error::Pin {
        path: older.map(from),
        action: "carry counters over",
        source,
    })
}

fn stats(older: &Pins) -> Result<Vec<Job>> {
    let map: PerCpuArray<MapData, Raw<abi4::OldCounter>> = map::open(older, maps::STATS)?;
    let mut jobs = Vec::new();
    for (then, now) in abi4::stats() {
        let values = map.get(&then, 0).map_err(failed(maps::STATS, "read"))?;
        jobs.extend(job(then, now, &values, 0));
    }
    Ok(jobs)
}

/// The pods that have a slot; `now` is their interface.
fn slots(older: &Pins) -> Result<Vec<Job>> {
    let map: PerCpuArray<MapData, Raw<abi4::OldSlot>> = map::open(older, maps::POD_SLOTS)?;
    let mut jobs = Vec::new();
    for slot in 0..abi4::SLOTS {
        let values = map.get(&slot, 0).map_err(failed(maps::POD_SLOTS, "read"))?;
        let owner = values.first().map_or(0, |Raw(value)| abi4::slot_owner(value));
        if owner != 0 {
            jobs.push(Job { then: slot, now: owner, cpus: counted(&values, 8 * SLOT_COUNTERS) });
        }
    }
    Ok(jobs)
}

/// The others.
fn others(older: &Pins) -> Result<Vec<Job>> {
    let map: PerCpuHashMap<MapData, u32, Raw<abi4::OldCounters>> = map::open(older, maps::POD_STATS)?;
    let mut jobs = Vec::new();
    for entry in map.iter() {
        let (ifindex, values) = entry.map_err(failed(maps::POD_STATS, "list"))?;
        jobs.push(Job { then: ifindex, now: ifindex, cpus: counted(&values, 0) });
    }
    Ok(jobs)
}

/// A job, if there is anything to move.
fn job<const N: usize>(then: u32, now: u32, values: &PerCpuValues<Raw<[u8; N]>>, from: usize) -> Option<Job>
where
    [u8; N]: Plain,
{
    let cpus = counted(values, from);
    cpus.contains(&true).then_some(Job { then, now, cpus })
}

/// Returns the CPUs on which anything was counted from that byte on.
fn counted<const N: usize>(values: &PerCpuValues<Raw<[u8; N]>>, from: usize) -> Vec<bool> {
    values.iter().map(|Raw(value)| value.iter().skip(from).any(|byte| *byte != 0)).collect()
}
