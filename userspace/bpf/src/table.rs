use aya::maps::{HashMap, MapData};
use naru_abi::Plain;

use crate::{
    Pins, Result, batch,
    map::{self, Raw, failed, present},
};

/// A pinned hash map, of either kind.
pub struct Table<K: Plain, V: Plain> {
    map: HashMap<MapData, Raw<K>, Raw<V>>,
    /// The same once more: aya's typed map does not lend it.
    data: MapData,
    name: &'static str,
}

impl<K: Plain, V: Plain> Table<K, V> {
    /// Opens the map `name`, whose keys and values these are.
    ///
    /// # Errors
    /// [`crate::Error::NotInstalled`] where it is not pinned.
    pub(crate) fn open(pins: &Pins, name: &'static str) -> Result<Self> {
        let data = map::data(&pins.map(name), name)?;
        Ok(Self { map: map::open(pins, name)?, data, name })
    }

    /// The capacity.
    ///
    /// # Errors
    /// The kernel's.
    pub fn capacity(&self) -> Result<u32> {
        Ok(self.data.info().map_err(failed(self.name, "read"))?.max_entries())
    }

    /// The value of a key; `None` if there is no such entry.
    ///
    /// # Errors
    /// The kernel's.
    pub fn get(&self, key: &K) -> Result<Option<V>> {
        let value = present(self.map.get(&Raw(*key), 0)).map_err(failed(self.name, "look up"))?;
        Ok(value.map(|Raw(value)| value))
    }

    /// Enters a value, in place of what was there before.
    ///
    /// # Errors
    /// The kernel's; `E2BIG` when the map is full.
    pub fn put(&mut self, key: &K, value: V) -> Result<()> {
        self.map.insert(Raw(*key), Raw(value), 0).map_err(failed(self.name, "insert"))
    }

    /// Enters a value where there is none yet; `false` if there was one, which stays.
    ///
    /// # Errors
    /// As [`Table::put`].
    pub fn put_new(&mut self, key: &K, value: V) -> Result<bool> {
        /// `BPF_NOEXIST`.
        const NEW: u64 = 1;
        match self.map.insert(Raw(*key), Raw(value), NEW) {
            Err(aya::maps::MapError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(libc::EEXIST) =>
            {
                Ok(false)
            }
            result => result.map(|()| true).map_err(failed(self.name, "insert")),
        }
    }

    /// Takes an entry out; `false` if it was not there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn delete(&mut self, key: &K) -> Result<bool> {
        let gone = present(self.map.remove(&Raw(*key))).map_err(failed(self.name, "delete"))?;
        Ok(gone.is_some())
    }

    /// Every entry, in no order: each that is there all the time, once.
    ///
    /// # Errors
    /// The kernel's.
    pub fn entries(&self) -> Result<Vec<(K, V)>> {
        batch::entries(&self.data).map_err(failed(self.name, "list"))
    }
}
