use std::{fs::File, io::ErrorKind, path::PathBuf};

use aya::{
    maps::{MapData, PerCpuArray, PerCpuHashMap, PerCpuValues},
    util::nr_cpus,
};
use naru_abi::{Counter, Outcome, POD_SLOTS, PodCounters, PodSlot, maps, pod_slot};

use crate::{
    Error, Pins, Result,
    map::{self, Raw, failed, present},
    stats::add,
};

/// The counters of the pods: each in the slot of its ifindex or, if another pod has that slot, under its ifindex in a
/// hash.
pub struct Counters {
    slots: PerCpuArray<MapData, Raw<PodSlot>>,
    others: PerCpuHashMap<MapData, u32, Raw<PodSlot>>,
    pins: PathBuf,
}

/// The counters of one pod over all CPUs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PodTotals {
    /// Sent by the pod, whatever became of it.
    pub tx: Counter,
    /// Handed to the pod's interface.
    pub rx: Counter,
    /// The outcomes of the packets that it sent; those at zero are left out.
    pub outcomes: Vec<(Outcome, Counter)>,
}

const NOBODYS: PodSlot = PodSlot { ifindex: 0, reserved: 0, counters: PodCounters::ZERO };

impl Counters {
    /// The offset of the counters in a value of either map, in words of eight bytes.
    pub const SLOT_WORD: usize = std::mem::offset_of!(PodSlot, counters) / 8;

    pub fn open(pins: &Pins) -> Result<Self> {
        let (slots, others) = (map::open(pins, maps::POD_SLOTS)?, map::open(pins, maps::POD_STATS)?);
        Ok(Self { slots, others, pins: pins.root().to_owned() })
    }

    /// Begins to count for `ifindex`, at zero.
    pub fn start(&mut self, ifindex: u32) -> Result<()> {
        let _alone = self.alone()?;
        match self.owner(pod_slot(ifindex))? {
            owner if owner == 0 || owner == ifindex => {
                self.fill(pod_slot(ifindex), PodSlot { ifindex, ..NOBODYS })
            }
            _ => {
                let zero = on_each_cpu(PodSlot { ifindex, ..NOBODYS }, maps::POD_STATS)?;
                self.others.insert(ifindex, zero, 0).map_err(failed(maps::POD_STATS, "insert"))
            }
        }
    }

    pub fn get(&self, ifindex: u32) -> Result<Option<PodTotals>> {
        let slot = self.slot(pod_slot(ifindex))?;
        if slot.iter().any(|Raw(slot)| slot.ifindex == ifindex) {
            return Ok(Some(totals(slot.iter().map(|Raw(slot)| &slot.counters))));
        }
        let values = present(self.others.get(&ifindex, 0)).map_err(failed(maps::POD_STATS, "read"))?;
        Ok(values.map(|values| totals(values.iter().map(|Raw(one)| &one.counters))))
    }

    /// Returns true if the counters of `ifindex` are in its slot.
    pub fn has_slot(&self, ifindex: u32) -> Result<bool> {
        Ok(self.owner(pod_slot(ifindex))? == ifindex)
    }

    /// Returns every ifindex that has counters, in no order.
    pub fn list(&self) -> Result<Vec<u32>> {
        let mut all = Vec::new();
        for index in 0..POD_SLOTS {
            all.extend(Some(self.owner(index)?).filter(|owner| *owner != 0));
        }
        let others: std::result::Result<Vec<u32>, _> = self.others.keys().collect();
        all.extend(others.map_err(failed(maps::POD_STATS, "list"))?);
        Ok(all)
    }

    /// Removes the counters. Returns false if there were none.
    pub fn stop(&mut self, ifindex: u32) -> Result<bool> {
        let _alone = self.alone()?;
        let is_owner = self.owner(pod_slot(ifindex))? == ifindex;
        if is_owner {
            self.fill(pod_slot(ifindex), NOBODYS)?;
        }
        // The hash too: the pod may have begun again there after its slot had become free.
        let gone = present(self.others.remove(&ifindex)).map_err(failed(maps::POD_STATS, "delete"))?;
        Ok(is_owner || gone.is_some())
    }

    /// Keeps other processes from assigning and freeing slots: an array has no conditional exchange, and is written CPU
    /// by CPU.
    fn alone(&self) -> Result<File> {
        let failed = |action| move |source| Error::Pin { path: self.pins.clone(), action, source };
        let directory = File::open(&self.pins).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::NotInstalled(self.pins.clone()),
            _ => failed("open")(error),
        })?;
        directory.lock().map_err(failed("lock"))?;
        Ok(directory)
    }

    fn slot(&self, index: u32) -> Result<PerCpuValues<Raw<PodSlot>>> {
        self.slots.get(&index, 0).map_err(failed(maps::POD_SLOTS, "read"))
    }

    /// The owner of the slot; 0 if it has none.
    fn owner(&self, index: u32) -> Result<u32> {
        Ok(self.slot(index)?.first().map_or(0, |Raw(slot)| slot.ifindex))
    }

    fn fill(&mut self, index: u32, slot: PodSlot) -> Result<()> {
        let everywhere = on_each_cpu(slot, maps::POD_SLOTS)?;
        self.slots.set(index, everywhere, 0).map_err(failed(maps::POD_SLOTS, "write"))
    }
}

/// A value of a per-CPU map that is the same on each.
pub(crate) fn on_each_cpu<T: naru_abi::Plain>(value: T, map: &'static str) -> Result<PerCpuValues<Raw<T>>> {
    let failed = |path: String, action, source| Error::Pin { path: path.into(), action, source };
    let cpus = nr_cpus().map_err(|(path, source)| failed(path.into(), "read", source))?;
    PerCpuValues::try_from(vec![Raw(value); cpus])
        .map_err(|source| failed(map.into(), "prepare counters", source))
}

fn totals<'a>(values: impl Iterator<Item = &'a PodCounters>) -> PodTotals {
    let sum = values.fold(PodCounters::ZERO, |mut sum, one| {
        sum.rx = add(sum.rx, one.rx);
        for (total, counter) in sum.outcomes.iter_mut().zip(one.outcomes) {
            *total = add(*total, counter);
        }
        sum
    });
    let named =
        sum.outcomes.iter().enumerate().filter_map(|(index, counter)| Some((Outcome::at(index)?, *counter)));
    PodTotals {
        tx: sum.outcomes.into_iter().fold(Counter::default(), add),
        rx: sum.rx,
        outcomes: named.filter(|(_, counter)| counter.packets != 0).collect(),
    }
}
