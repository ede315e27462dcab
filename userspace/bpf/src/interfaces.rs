use std::path::PathBuf;

use aya::maps::{HashMap, MapData};
use naru_abi::{InterfaceValue, maps};

use crate::{
    Pins, Result, batch,
    counters::{Counters, PodTotals},
    map::{self, Raw, failed, present},
};

/// The pinned map `INTERFACES`, and the counters; keys are ifindexes of host veths.
pub struct Interfaces {
    settings: HashMap<MapData, u32, Raw<InterfaceValue>>,
    pin: PathBuf,
    counters: Counters,
}

impl Interfaces {
    /// Opens the maps.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] where one is not pinned.
    pub fn open(pins: &Pins) -> Result<Self> {
        let settings = map::open(pins, maps::INTERFACES)?;
        Ok(Self { settings, pin: pins.map(maps::INTERFACES), counters: Counters::open(pins)? })
    }

    /// Adds the host veth `ifindex`, with counters at zero. Call this before the filters are attached.
    ///
    /// # Errors
    /// The kernel's; `E2BIG` when a map is full.
    pub fn add(&mut self, ifindex: u32, value: InterfaceValue) -> Result<()> {
        self.counters.start(ifindex)?;
        self.settings
            .insert(ifindex, Raw(InterfaceValue { ifindex, ..value }), 0)
            .map_err(failed(maps::INTERFACES, "insert"))
    }

    /// Changes the settings of `ifindex`, whose counters go on; `false` if it is not known.
    ///
    /// # Errors
    /// The kernel's.
    pub fn change(
        &mut self,
        ifindex: u32,
        change: impl FnOnce(InterfaceValue) -> InterfaceValue,
    ) -> Result<bool> {
        let Some(value) = self.get(ifindex)? else { return Ok(false) };
        let value = InterfaceValue { ifindex, ..change(value) };
        // One that goes meanwhile does not come back.
        let written = present(self.settings.insert(ifindex, Raw(value), map::EXIST));
        Ok(written.map_err(failed(maps::INTERFACES, "replace"))?.is_some())
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
        let data = map::data(&self.pin, maps::INTERFACES)?;
        let settings: Vec<(u32, InterfaceValue)> =
            batch::entries(&data).map_err(failed(maps::INTERFACES, "list"))?;
        let mut all: Vec<u32> = settings.into_iter().map(|(index, _)| index).collect();
        all.extend(self.counters.list()?);
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    /// The counters of `ifindex`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn counters(&self, ifindex: u32) -> Result<Option<PodTotals>> {
        self.counters.get(ifindex)
    }

    /// Forgets `ifindex`; `false` if it was not known.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove(&mut self, ifindex: u32) -> Result<bool> {
        let settings = present(self.settings.remove(&ifindex)).map_err(failed(maps::INTERFACES, "delete"))?;
        Ok(self.counters.stop(ifindex)? || settings.is_some())
    }
}
