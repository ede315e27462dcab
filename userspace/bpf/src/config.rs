use aya::maps::{Array, MapData};
use naru_abi::{Config, maps};

use crate::{
    Pins, Result,
    map::{self, Raw, failed},
};

/// The pinned map `CONFIG`: one value.
pub struct ConfigMap {
    map: Array<MapData, Raw<Config>>,
}

impl ConfigMap {
    /// Opens the map.
    ///
    /// # Errors
    /// [`crate::Error::NotInstalled`] where it is not pinned.
    pub fn open(pins: &Pins) -> Result<Self> {
        map::open(pins, maps::CONFIG).map(|map| Self { map })
    }

    /// The configuration; all zero before the first [`ConfigMap::set`], and until then the programs drop as not ready.
    ///
    /// # Errors
    /// The kernel's.
    pub fn get(&self) -> Result<Config> {
        self.map.get(&0, 0).map(|Raw(config)| config).map_err(failed(maps::CONFIG, "read"))
    }

    /// Replaces the configuration; in force for the next packet.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set(&mut self, config: Config) -> Result<()> {
        self.map.set(0, Raw(config), 0).map_err(failed(maps::CONFIG, "write"))
    }
}
