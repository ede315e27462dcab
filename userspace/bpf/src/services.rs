use aya::maps::{Array, MapData, PerCpuHashMap};
use naru_abi::{
    AffinityKey, AffinityValue, AnswerValue, BackendKey, BackendValue, FlowKey, MemberKey, ServiceCounters,
    ServiceKey, ServiceState, ServiceValue, TranslationValue, maps,
};

use crate::{
    Pins, Result, Table,
    counters::on_each_cpu,
    map::{self, Raw, failed, present},
};

/// The pinned maps of Services and their backends. Who writes them does so in an order in which every program that
/// reads meanwhile finds a backend: [`ServiceValue`].
pub struct ServiceMaps {
    /// Ports of Services.
    pub services: Table<ServiceKey, ServiceValue>,
    /// Their backends.
    pub backends: Table<BackendKey, BackendValue>,
    /// Backends of those with session affinity, and their slots.
    pub members: Table<MemberKey, u32>,
    /// Which backend a client had last.
    pub affinity: Table<AffinityKey, AffinityValue>,
    state: Array<MapData, Raw<ServiceState>>,
    counters: PerCpuHashMap<MapData, u32, Raw<ServiceCounters>>,
}

impl ServiceMaps {
    /// Opens the maps.
    ///
    /// # Errors
    /// [`crate::Error::NotInstalled`] where one is not pinned.
    pub fn open(pins: &Pins) -> Result<Self> {
        Ok(Self {
            services: Table::open(pins, maps::SERVICES)?,
            backends: Table::open(pins, maps::BACKENDS)?,
            members: Table::open(pins, maps::MEMBERS)?,
            affinity: Table::open(pins, maps::AFFINITY)?,
            state: map::open(pins, maps::SERVICE_STATE)?,
            counters: map::open(pins, maps::SERVICE_STATS)?,
        })
    }

    /// Returns the state that applies to all Services.
    ///
    /// # Errors
    /// The kernel's.
    pub fn state(&self) -> Result<ServiceState> {
        self.state.get(&0, 0).map(|Raw(state)| state).map_err(failed(maps::SERVICE_STATE, "read"))
    }

    /// Says what holds for all Services, word by word.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_state(&mut self, state: ServiceState) -> Result<()> {
        self.state.set(0, Raw(state), 0).map_err(failed(maps::SERVICE_STATE, "write"))
    }

    /// Begins to count for the Service of this number, at zero.
    ///
    /// # Errors
    /// The kernel's; `E2BIG` when the map is full.
    pub fn start_counting(&mut self, id: u32) -> Result<()> {
        let zero = on_each_cpu(ServiceCounters::ZERO, maps::SERVICE_STATS)?;
        self.counters.insert(id, zero, 0).map_err(failed(maps::SERVICE_STATS, "insert"))
    }

    /// Forgets what was counted for the Service of this number.
    ///
    /// # Errors
    /// The kernel's.
    pub fn stop_counting(&mut self, id: u32) -> Result<()> {
        present(self.counters.remove(&id)).map(drop).map_err(failed(maps::SERVICE_STATS, "delete"))
    }

    /// Returns the counters of the Service with this number, summed over all CPUs; `None` if it has none.
    ///
    /// # Errors
    /// The kernel's.
    pub fn counters(&self, id: u32) -> Result<Option<ServiceCounters>> {
        let values = present(self.counters.get(&id, 0)).map_err(failed(maps::SERVICE_STATS, "read"))?;
        let sum = |sum: ServiceCounters, Raw(one): &Raw<ServiceCounters>| ServiceCounters {
            translated: sum.translated + one.translated,
            stack: sum.stack + one.stack,
            clashes: sum.clashes + one.clashes,
        };
        Ok(values.map(|values| values.iter().fold(ServiceCounters::ZERO, sum)))
    }
}

/// The pinned maps of flows to Services: what pods send, and what backends answer.
pub struct Translations {
    /// By what the pod sends.
    pub flows: Table<FlowKey, TranslationValue>,
    /// By what the backend answers.
    pub answers: Table<FlowKey, AnswerValue>,
}

impl Translations {
    /// Opens the maps.
    ///
    /// # Errors
    /// [`crate::Error::NotInstalled`] where one is not pinned.
    pub fn open(pins: &Pins) -> Result<Self> {
        Ok(Self { flows: Table::open(pins, maps::TRANSLATIONS)?, answers: Table::open(pins, maps::ANSWERS)? })
    }
}
