use std::path::PathBuf;

use aya::maps::{HashMap, MapData};
use naru_abi::{Addr, PodValue, maps};

use crate::{
    Pins, Result, batch,
    map::{self, Raw, failed, present},
};

/// The pinned map `PODS`: the pods by their addresses.
pub struct Pods {
    map: HashMap<MapData, Raw<Addr>, Raw<PodValue>>,
    pin: PathBuf,
}

impl Pods {
    /// Opens the map.
    ///
    /// # Errors
    /// [`crate::Error::NotInstalled`] where it is not pinned.
    pub fn open(pins: &Pins) -> Result<Self> {
        Ok(Self { map: map::open(pins, maps::PODS)?, pin: pins.map(maps::PODS) })
    }

    /// The pod that holds `address`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn get(&self, address: impl Into<Addr>) -> Result<Option<PodValue>> {
        let value = present(self.map.get(&Raw(address.into()), 0)).map_err(failed(maps::PODS, "look up"))?;
        Ok(value.map(|Raw(value)| value))
    }

    /// Sets the pod that holds `address`, replacing any other; the entry carries the address itself.
    ///
    /// # Errors
    /// The kernel's; `E2BIG` when the map is full.
    pub fn insert(&mut self, address: impl Into<Addr>, value: PodValue) -> Result<()> {
        let address = address.into();
        self.map
            .insert(Raw(address), Raw(PodValue { address, ..value }), 0)
            .map_err(failed(maps::PODS, "insert"))
    }

    /// Does the same as [`Pods::insert`] where `address` is in the map; returns false where it is not, or just went.
    ///
    /// # Errors
    /// The kernel's.
    pub fn replace(&mut self, address: impl Into<Addr>, value: PodValue) -> Result<bool> {
        let address = address.into();
        let written = self.map.insert(Raw(address), Raw(PodValue { address, ..value }), map::EXIST);
        Ok(present(written).map_err(failed(maps::PODS, "replace"))?.is_some())
    }

    /// Forgets `address`; `false` if it was not there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn delete(&mut self, address: impl Into<Addr>) -> Result<bool> {
        let gone = present(self.map.remove(&Raw(address.into()))).map_err(failed(maps::PODS, "delete"))?;
        Ok(gone.is_some())
    }

    /// Removes `address` if it still has `generation`; returns false otherwise. The caller must keep others from
    /// assigning the address meanwhile: the kernel has no compare-and-delete.
    ///
    /// # Errors
    /// The kernel's.
    pub fn delete_generation(&mut self, address: impl Into<Addr>, generation: u64) -> Result<bool> {
        let address = address.into();
        match self.get(address)? {
            Some(value) if value.generation == generation => self.delete(address),
            _ => Ok(false),
        }
    }

    /// Returns every entry, in no order. An entry that exists throughout is returned exactly once, while others come
    /// and go.
    ///
    /// # Errors
    /// The kernel's.
    pub fn entries(&self) -> Result<Vec<(Addr, PodValue)>> {
        batch::entries(&map::data(&self.pin, maps::PODS)?).map_err(failed(maps::PODS, "list"))
    }
}
