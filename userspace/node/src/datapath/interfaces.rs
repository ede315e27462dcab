use aya::{
    maps::{HashMap, MapData, PerCpuHashMap, PerCpuValues},
    util::nr_cpus,
};
use naru_abi::{Counter, InterfaceValue, Outcome, PodCounters, maps};

use super::{
    Error, Pins, Result,
    map::{self, Raw, failed, present},
    stats::add,
};

/// The pinned maps by pod interface, `INTERFACES` and `POD_STATS`; keys are ifindexes of host veths.
pub struct Interfaces {
    settings: HashMap<MapData, u32, Raw<InterfaceValue>>,
    counters: PerCpuHashMap<MapData, u32, Raw<PodCounters>>,
}

/// The counters of one pod over all CPUs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PodTotals {
    /// Sent by the pod, whatever became of it.
    pub tx: Counter,
    /// Handed to the pod's interface.
    pub rx: Counter,
    /// What became of the packets it sent; only ends that something came to.
    pub outcomes: Vec<(Outcome, Counter)>,
}

impl Interfaces {
    /// Opens the maps.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] where one is not pinned.
    pub fn open(pins: &Pins) -> Result<Self> {
        Ok(Self { settings: map::open(pins, maps::INTERFACES)?, counters: map::open(pins, maps::POD_STATS)? })
    }

    /// Makes the host veth `ifindex` known, its counters at zero. Call it before the filters are attached.
    ///
    /// # Errors
    /// The kernel's; `E2BIG` when a map is full.
    pub fn add(&mut self, ifindex: u32, value: InterfaceValue) -> Result<()> {
        let cpus =
            nr_cpus().map_err(|(path, source)| Error::Pin { path: path.into(), action: "read", source })?;
        let zero = PerCpuValues::try_from(vec![Raw(PodCounters::ZERO); cpus]).map_err(|source| {
            Error::Pin { path: maps::POD_STATS.into(), action: "prepare counters", source }
        })?;
        self.counters.insert(ifindex, zero, 0).map_err(failed(maps::POD_STATS, "insert"))?;
        self.settings.insert(ifindex, Raw(value), 0).map_err(failed(maps::INTERFACES, "insert"))
    }

    /// The settings of `ifindex`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn get(&self, ifindex: u32) -> Result<Option<InterfaceValue>> {
        let value = present(self.settings.get(&ifindex, 0)).map_err(failed(maps::INTERFACES, "look up"))?;
        Ok(value.map(|Raw(value)| value))
    }

    /// Every known ifindex, in no order, also those of which only the counters are left.
    ///
    /// # Errors
    /// The kernel's.
    pub fn list(&self) -> Result<Vec<u32>> {
        let settings: std::result::Result<Vec<u32>, _> = self.settings.keys().collect();
        let counters: std::result::Result<Vec<u32>, _> = self.counters.keys().collect();
        let mut all = settings.map_err(failed(maps::INTERFACES, "list"))?;
        all.extend(counters.map_err(failed(maps::POD_STATS, "list"))?);
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    /// The counters of `ifindex`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn counters(&self, ifindex: u32) -> Result<Option<PodTotals>> {
        let values = present(self.counters.get(&ifindex, 0)).map_err(failed(maps::POD_STATS, "read"))?;
        Ok(values.map(|values| totals(values.iter().map(|Raw(one)| one))))
    }

    /// Forgets `ifindex`; `false` if it was not known.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove(&mut self, ifindex: u32) -> Result<bool> {
        let settings = present(self.settings.remove(&ifindex)).map_err(failed(maps::INTERFACES, "delete"))?;
        let counters = present(self.counters.remove(&ifindex)).map_err(failed(maps::POD_STATS, "delete"))?;
        Ok(settings.is_some() || counters.is_some())
    }
}

fn totals<'a>(values: impl Iterator<Item = &'a PodCounters>) -> PodTotals {
    let sum = values.fold(PodCounters::ZERO, |mut sum, one| {
        sum.tx = add(sum.tx, one.tx);
        sum.rx = add(sum.rx, one.rx);
        for (total, counter) in sum.outcomes.iter_mut().zip(one.outcomes) {
            *total = add(*total, counter);
        }
        sum
    });
    let named =
        sum.outcomes.iter().enumerate().filter_map(|(index, counter)| Some((Outcome::at(index)?, *counter)));
    PodTotals {
        tx: sum.tx,
        rx: sum.rx,
        outcomes: named.filter(|(_, counter)| counter.packets != 0).collect(),
    }
}
