//! `SERVICES`, `BACKENDS` and `MEMBERS`, entry by entry.

use std::collections::BTreeMap;

use naru_abi::{
    Addr, BackendKey, BackendValue, MAX_BACKENDS, MAX_MEMBERS, MAX_SERVICES, MemberKey, ServiceKey,
    ServiceState, ServiceValue, service_flags,
};
use naru_bpf::ServiceMaps;
use naru_core::services::{
    Backend, Table,
    slots::{Step, steps},
};

use super::backend;
use crate::machine::MachineError;

/// An entry with its backends, by slot.
pub(super) struct Held {
    value: ServiceValue,
    backends: Vec<Backend>,
}

/// The maps, and what they hold.
pub(super) struct Tables {
    maps: ServiceMaps,
    pub held: BTreeMap<ServiceKey, Held>,
    /// The highest number that is in use.
    last: u32,
    /// Entries changed so far.
    pub writes: usize,
}

impl Tables {
    /// Reads the maps. Slots beyond the count, which a process that was killed left, are cleared.
    pub fn read(maps: ServiceMaps) -> Result<Self, MachineError> {
        let mut slots: BTreeMap<BackendKey, Backend> = maps
            .backends
            .entries()?
            .into_iter()
            .map(|(key, value)| (key, backend(value.address, value.port)))
            .collect();
        let mut held = BTreeMap::new();
        for (key, value) in maps.services.entries()? {
            let own = (0..value.count).map(|slot| BackendKey { service: value.id, slot });
            let backends = own.map_while(|key| slots.remove(&key)).collect();
            held.insert(key, Held { value, backends });
        }
        let last = held.values().map(|held| held.value.id).max().unwrap_or(0);
        let mut tables = Self { maps, held, last, writes: 0 };
        for key in slots.keys() {
            tables.maps.backends.delete(key)?;
        }
        Ok(tables)
    }

    /// Gives none of these numbers to a new entry.
    pub fn avoid(&mut self, numbers: impl Iterator<Item = u32>) {
        self.last = numbers.fold(self.last, u32::max);
    }

    /// Checks that the maps have room for a table.
    pub fn fits(&self, table: &Table) -> Result<(), MachineError> {
        let all = || table.frontends.values();
        let sticking = all().filter(|one| one.affinity.is_some());
        let facts = [
            ("ports of Services", table.frontends.len(), MAX_SERVICES),
            ("backends", all().map(|one| one.chosen.len()).sum(), MAX_BACKENDS),
            ("backends with session affinity", sticking.map(|one| one.chosen.len()).sum(), MAX_MEMBERS),
        ];
        match facts.into_iter().find(|(_, count, room)| u32::try_from(*count).is_ok_and(|it| it > *room)) {
            None => Ok(()),
            Some((what, count, room)) => Err(MachineError::NoRoom { what, count, room }),
        }
    }

    /// Makes the ranges of the programs hold these addresses, too. `is_in_use` says whether flows are translated: if
    /// not, and nothing is looked for, the ranges begin anew. Returns true if they changed.
    pub fn widen(
        &mut self,
        addresses: impl Iterator<Item = Addr>,
        is_in_use: bool,
    ) -> Result<bool, MachineError> {
        let before = self.maps.state()?;
        let mut state = before;
        if state.on == 0 && !is_in_use {
            state = ServiceState { fresh_until: state.fresh_until, ..ServiceState::OFF };
        }
        for address in addresses {
            let range = if address.is_v4() { &mut state.v4 } else { &mut state.v6 };
            if !range.holds(&address) {
                *range = range.with(address);
            }
        }
        if state != before {
            self.maps.set_state(state)?;
        }
        Ok(state != before)
    }

    /// Lets the programs look for Services, or not.
    pub fn switch(&mut self, on: bool) -> Result<(), MachineError> {
        let state = self.maps.state()?;
        if state.on != u32::from(on) {
            self.maps.set_state(ServiceState { on: on.into(), ..state })?;
            self.writes += 1;
        }
        Ok(())
    }

    /// Makes an entry have these backends for new flows, which take the stack with [`service_flags::STACK`]. Returns
    /// true if new flows are now translated that the stack may have translated so far, of a kind that `is_learned`:
    /// then the entry has [`service_flags::LEARN`], until [`Tables::learned`].
    pub fn set(
        &mut self,
        key: ServiceKey,
        backends: &[Backend],
        flags: u32,
        affinity: u32,
        is_learned: bool,
    ) -> Result<bool, MachineError> {
        let is_stack = flags & service_flags::STACK != 0;
        let (before, held, is_new) = match self.held.remove(&key) {
            Some(Held { value, backends }) => (value, backends, false),
            None => (self.number(key)?, Vec::new(), true),
        };
        let was_stack = before.flags != 0 || is_new;
        let is_fresh = was_stack && !is_stack && is_learned;
        let flags = if is_fresh { flags | service_flags::LEARN } else { flags };
        let mut value = ServiceValue { flags, affinity, ..before };
        let steps = steps(&held, backends);
        // Until the members are there, nobody may ask for them.
        if affinity != 0 {
            self.add_members(value.id, &held, backends, before.affinity == 0)?;
        }
        // Nothing is drawn any more from slots that are about to be cleared.
        if is_stack && before.flags & service_flags::STACK == 0 && !is_new {
            self.put(key, ServiceValue { flags, ..before })?;
        }
        for step in &steps {
            match *step {
                Step::Put(slot, backend) => self.put_backend(value.id, slot, backend)?,
                Step::Count(count) => {
                    value.count = count;
                    self.put(key, value)?;
                }
                Step::Clear(slot) => {
                    self.maps.backends.delete(&BackendKey { service: value.id, slot })?;
                    self.writes += 1;
                }
            }
        }
        value.count = u32::try_from(backends.len()).unwrap_or(u32::MAX);
        if self.maps.services.get(&key)? != Some(value) {
            self.put(key, value)?;
        }
        if before.affinity != 0 {
            self.remove_members(value.id, &held, if affinity == 0 { &[] } else { backends })?;
        }
        self.held.insert(key, Held { value, backends: Vec::new() });
        Ok(is_fresh)
    }

    /// A new entry's value, without backends; it is counted for.
    fn number(&mut self, key: ServiceKey) -> Result<ServiceValue, MachineError> {
        self.last += 1;
        self.maps.start_counting(self.last)?;
        Ok(ServiceValue { key, id: self.last, count: 0, flags: 0, affinity: 0 })
    }

    fn put(&mut self, key: ServiceKey, value: ServiceValue) -> Result<(), MachineError> {
        self.writes += 1;
        Ok(self.maps.services.put(&key, value)?)
    }

    fn put_backend(&mut self, service: u32, slot: u32, backend: Backend) -> Result<(), MachineError> {
        self.writes += 1;
        let key = BackendKey { service, slot };
        let value = BackendValue { key, address: backend.address.into(), port: backend.port, reserved: 0 };
        Ok(self.maps.backends.put(&key, value)?)
    }

    /// Enters the backends that come, or all of them if there are none yet. A member's slot is only a hint: it is
    /// compared with what the slot has.
    fn add_members(
        &mut self,
        service: u32,
        held: &[Backend],
        backends: &[Backend],
        is_all: bool,
    ) -> Result<(), MachineError> {
        for (slot, backend) in backends.iter().enumerate() {
            if is_all || !held.contains(backend) {
                self.maps.members.put(&member(service, backend), u32::try_from(slot).unwrap_or(0))?;
                self.writes += 1;
            }
        }
        Ok(())
    }

    fn remove_members(
        &mut self,
        service: u32,
        held: &[Backend],
        backends: &[Backend],
    ) -> Result<(), MachineError> {
        for backend in held.iter().filter(|backend| !backends.contains(backend)) {
            self.maps.members.delete(&member(service, backend))?;
            self.writes += 1;
        }
        Ok(())
    }

    /// Lets these entries translate every new flow.
    pub fn learned(&mut self, keys: &[ServiceKey]) -> Result<(), MachineError> {
        for key in keys {
            if let Some(value) = self.held.get(key).map(|held| held.value) {
                self.put(*key, ServiceValue { flags: value.flags & !service_flags::LEARN, ..value })?;
            }
        }
        Ok(())
    }

    /// Takes an entry out: first itself, then what it led to.
    pub fn remove(&mut self, key: &ServiceKey) -> Result<(), MachineError> {
        let Some(Held { value, backends }) = self.held.remove(key) else { return Ok(()) };
        self.maps.services.delete(key)?;
        for slot in 0..value.count {
            self.maps.backends.delete(&BackendKey { service: value.id, slot })?;
        }
        self.remove_members(value.id, &backends, &[])?;
        self.maps.stop_counting(value.id)?;
        self.writes += 1 + backends.len();
        Ok(())
    }
}

fn member(service: u32, backend: &Backend) -> MemberKey {
    MemberKey { address: backend.address.into(), service, port: backend.port, reserved: 0 }
}
