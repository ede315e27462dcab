use aya::maps::{Array, MapData};
use naru_abi::{Config, ConfigSlots, maps};

use crate::{
    Pins, Result,
    map::{self, Raw, failed},
};

/// The pinned map `CONFIG`: one value.
pub struct ConfigMap {
    map: Array<MapData, Raw<ConfigSlots>>,
}

impl ConfigMap {
    /// Opens the map.
    ///
    /// # Errors
    /// [`crate::Error::NotInstalled`] where it is not pinned.
    pub fn open(pins: &Pins) -> Result<Self> {
        map::open(pins, maps::CONFIG).map(|map| Self { map })
    }

    /// Returns the configuration in force. It is all zero before the first [`ConfigMap::set`]; until then programs drop
    /// every packet as not ready.
    ///
    /// # Errors
    /// The kernel's.
    pub fn get(&self) -> Result<Config> {
        let ConfigSlots { current, slots, .. } = self.slots()?;
        Ok(slots[ConfigSlots::position(current)])
    }

    /// Replaces the configuration; the next packet meets the new one. It is written into a free slot and then made
    /// current, because programs read the old one while the kernel writes. The caller ensures that no two calls run at
    /// once.
    ///
    /// # Errors
    /// The kernel's; then the one before stays in force.
    pub fn set(&mut self, config: Config) -> Result<()> {
        let mut slots = self.slots()?;
        let next = slots.current.wrapping_add(1);
        slots.slots[ConfigSlots::position(next)] = config;
        self.write(slots)?;
        self.write(ConfigSlots { current: next, ..slots })
    }

    fn slots(&self) -> Result<ConfigSlots> {
        self.map.get(&0, 0).map(|Raw(slots)| slots).map_err(failed(maps::CONFIG, "read"))
    }

    fn write(&mut self, slots: ConfigSlots) -> Result<()> {
        self.map.set(0, Raw(slots), 0).map_err(failed(maps::CONFIG, "write"))
    }
}
