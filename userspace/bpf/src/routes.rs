use aya::maps::{
    MapData,
    lpm_trie::{Key, LpmTrie},
};
use naru_abi::{Addr, Prefix, RouteValue, maps};

use crate::{
    Pins, Result,
    map::{self, Raw, failed, present},
};

/// The pinned map `ROUTES`: destinations by prefix.
pub struct Routes {
    map: LpmTrie<MapData, Raw<Addr>, Raw<RouteValue>>,
}

fn key(prefix: Prefix) -> Key<Raw<Addr>> {
    Key::new(prefix.prefix_len, Raw(prefix.addr))
}

impl Routes {
    /// Opens the map.
    ///
    /// # Errors
    /// [`crate::Error::NotInstalled`] where it is not pinned.
    pub fn open(pins: &Pins) -> Result<Self> {
        map::open(pins, maps::ROUTES).map(|map| Self { map })
    }

    /// The value of the longest prefix that holds `address`, as the datapath finds it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn lookup(&self, address: impl Into<Addr>) -> Result<Option<RouteValue>> {
        let key = key(Prefix::host(address.into()));
        let value = present(self.map.get(&key, 0)).map_err(failed(maps::ROUTES, "look up"))?;
        Ok(value.map(|Raw(value)| value))
    }

    /// Sets the destination behind `prefix`, replacing any other.
    ///
    /// # Errors
    /// The kernel's; `ENOSPC` when the map is full.
    pub fn insert(&mut self, prefix: Prefix, value: RouteValue) -> Result<()> {
        self.map.insert(&key(prefix), Raw(value), 0).map_err(failed(maps::ROUTES, "insert"))
    }

    /// Forgets exactly `prefix`; `false` if it was not there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn delete(&mut self, prefix: Prefix) -> Result<bool> {
        let gone = present(self.map.remove(&key(prefix))).map_err(failed(maps::ROUTES, "delete"))?;
        Ok(gone.is_some())
    }

    /// Every entry, in no order.
    ///
    /// # Errors
    /// The kernel's.
    pub fn entries(&self) -> Result<Vec<(Prefix, RouteValue)>> {
        let entries = self.map.iter().map(|entry| {
            let (key, Raw(value)) = entry?;
            let Raw(addr) = key.data();
            Ok((Prefix { prefix_len: key.prefix_len(), addr }, value))
        });
        entries.collect::<std::result::Result<_, _>>().map_err(failed(maps::ROUTES, "list"))
    }
}
