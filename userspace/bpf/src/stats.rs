use aya::maps::{MapData, PerCpuArray};
use naru_abi::{Counter, Hook, OUTCOMES, Outcome, maps, stats_index};

use crate::{
    Pins, Result,
    map::{self, Raw, failed},
};

/// The pinned map `STATS`: packets by hook and outcome.
pub struct Stats {
    map: PerCpuArray<MapData, Raw<Counter>>,
}

/// One line of [`Stats::totals`]: packets that came to one outcome at one hook, over all CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Total {
    /// The hook.
    pub hook: Hook,
    /// The outcome.
    pub outcome: Outcome,
    /// The count.
    pub counter: Counter,
}

impl Stats {
    /// Opens the map.
    ///
    /// # Errors
    /// [`crate::Error::NotInstalled`] where it is not pinned.
    pub fn open(pins: &Pins) -> Result<Self> {
        map::open(pins, maps::STATS).map(|map| Self { map })
    }

    /// The count of `outcome` at `hook`, over all CPUs.
    ///
    /// # Errors
    /// The kernel's.
    pub fn get(&self, hook: Hook, outcome: Outcome) -> Result<Counter> {
        let values =
            self.map.get(&stats_index(hook, outcome.index()), 0).map_err(failed(maps::STATS, "read"))?;
        Ok(values.iter().fold(Counter::default(), |sum, Raw(one)| add(sum, *one)))
    }

    /// Returns every hook with every outcome, also those without any packet.
    ///
    /// # Errors
    /// The kernel's.
    pub fn totals(&self) -> Result<Vec<Total>> {
        let ends = Hook::ALL
            .iter()
            .flat_map(|hook| (0..OUTCOMES).filter_map(|index| Some((*hook, Outcome::at(index)?))));
        ends.map(|(hook, outcome)| Ok(Total { hook, outcome, counter: self.get(hook, outcome)? })).collect()
    }
}

/// The sum of two counters.
pub(crate) fn add(one: Counter, other: Counter) -> Counter {
    Counter { packets: one.packets.wrapping_add(other.packets), bytes: one.bytes.wrapping_add(other.bytes) }
}
