use aya::maps::{HashMap, MapData};
use naru_abi::{FlowKey, FlowValue, maps};

use crate::{
    Pins, Result, batch,
    map::{self, Raw, failed, present},
};

/// A pinned map of packets that must take the stack because those of the other direction did.
pub struct Flows {
    name: &'static str,
    map: HashMap<MapData, Raw<FlowKey>, Raw<FlowValue>>,
    /// The same map once more, as aya's typed map does not lend it.
    data: MapData,
}

impl Flows {
    /// Opens the map `FLOWS`.
    ///
    /// # Errors
    /// [`crate::Error::NotInstalled`] where it is not pinned.
    pub fn open(pins: &Pins) -> Result<Self> {
        Self::open_map(pins, maps::FLOWS)
    }

    /// Opens the map `FLOW_PAIRS`, whose keys have no ports.
    ///
    /// # Errors
    /// As [`Flows::open`].
    pub fn open_pairs(pins: &Pins) -> Result<Self> {
        Self::open_map(pins, maps::FLOW_PAIRS)
    }

    fn open_map(pins: &Pins, name: &'static str) -> Result<Self> {
        Ok(Self { name, map: map::open(pins, name)?, data: map::data(&pins.map(name), name)? })
    }

    /// The capacity.
    ///
    /// # Errors
    /// The kernel's.
    pub fn capacity(&self) -> Result<u32> {
        Ok(self.data.info().map_err(failed(self.name, "read"))?.max_entries())
    }

    /// The time at which the flow was last seen; `None` if there is no such entry.
    ///
    /// # Errors
    /// The kernel's.
    pub fn get(&self, key: &FlowKey) -> Result<Option<FlowValue>> {
        let value = present(self.map.get(&Raw(*key), 0)).map_err(failed(self.name, "look up"))?;
        Ok(value.map(|Raw(value)| value))
    }

    /// Adds the flow, or updates the time at which it was seen.
    ///
    /// # Errors
    /// The kernel's; `E2BIG` when the map is full.
    pub fn insert(&mut self, key: &FlowKey, value: FlowValue) -> Result<()> {
        self.map.insert(Raw(*key), Raw(value), 0).map_err(failed(self.name, "insert"))
    }

    /// Forgets the flow; `false` if it was not there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn delete(&mut self, key: &FlowKey) -> Result<bool> {
        let gone = present(self.map.remove(&Raw(*key))).map_err(failed(self.name, "delete"))?;
        Ok(gone.is_some())
    }

    /// Every entry, in no order.
    ///
    /// # Errors
    /// The kernel's.
    pub fn entries(&self) -> Result<Vec<(FlowKey, FlowValue)>> {
        batch::entries(&self.data).map_err(failed(self.name, "list"))
    }
}
