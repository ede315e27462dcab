use aya::maps::{HashMap, MapData};
use naru_abi::{FlowKey, FlowValue, maps};

use crate::{
    Pins, Result, batch,
    map::{self, Raw, failed, present},
};

/// The pinned map `FLOWS`: what must take the stack because the other direction does.
pub struct Flows {
    map: HashMap<MapData, Raw<FlowKey>, Raw<FlowValue>>,
    /// The same once more: aya's typed map does not lend it.
    data: MapData,
}

impl Flows {
    /// Opens the map.
    ///
    /// # Errors
    /// [`crate::Error::NotInstalled`] where it is not pinned.
    pub fn open(pins: &Pins) -> Result<Self> {
        Ok(Self { map: map::open(pins, maps::FLOWS)?, data: map::data(&pins.map(maps::FLOWS), maps::FLOWS)? })
    }

    /// The capacity.
    ///
    /// # Errors
    /// The kernel's.
    pub fn capacity(&self) -> Result<u32> {
        Ok(self.data.info().map_err(failed(maps::FLOWS, "read"))?.max_entries())
    }

    /// The time at which the flow was last seen; `None` if there is no such entry.
    ///
    /// # Errors
    /// The kernel's.
    pub fn get(&self, key: &FlowKey) -> Result<Option<FlowValue>> {
        let value = present(self.map.get(&Raw(*key), 0)).map_err(failed(maps::FLOWS, "look up"))?;
        Ok(value.map(|Raw(value)| value))
    }

    /// Enters the flow, or says anew when it was seen.
    ///
    /// # Errors
    /// The kernel's; `E2BIG` when the map is full.
    pub fn insert(&mut self, key: &FlowKey, value: FlowValue) -> Result<()> {
        self.map.insert(Raw(*key), Raw(value), 0).map_err(failed(maps::FLOWS, "insert"))
    }

    /// Forgets the flow; `false` if it was not there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn delete(&mut self, key: &FlowKey) -> Result<bool> {
        let gone = present(self.map.remove(&Raw(*key))).map_err(failed(maps::FLOWS, "delete"))?;
        Ok(gone.is_some())
    }

    /// Every entry, in no order.
    ///
    /// # Errors
    /// The kernel's.
    pub fn entries(&self) -> Result<Vec<(FlowKey, FlowValue)>> {
        batch::entries(&self.data).map_err(failed(maps::FLOWS, "list"))
    }
}
