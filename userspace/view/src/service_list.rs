use std::{collections::BTreeMap, net::IpAddr};

use naru_abi::{ServiceKey, ServiceValue, service_flags};
use naru_bpf::{Pins, ServiceMaps};
use naru_core::services::{Backend, Frontend, Protocol};
use naru_node::{machine::MachineError, paths::Paths};
use serde::Serialize;

use crate::{FrontendNote, ServiceNote};

/// The Services of a node: what is in the maps, named by what the agent noted.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct ServiceList {
    /// Every port of every address.
    pub frontends: Vec<FrontendView>,
    /// Services without any, each with the reason.
    pub left: Vec<LeftView>,
}

/// One port of one address of a Service.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FrontendView {
    /// `namespace/name`; empty where no agent has noted it.
    pub service: String,
    /// The name of the port; empty where there is only one.
    pub port_name: String,
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: &'static str,
    /// Backends, those of new flows first.
    pub backends: Vec<BackendView>,
    /// Seconds for which a client stays with its backend; null without session affinity.
    pub affinity: Option<u32>,
    /// The reason for which new flows take the stack; null where they are translated.
    pub stack: Option<String>,
    /// New flows that were translated here.
    pub translated: u64,
    /// New flows that were left to the stack.
    pub left: u64,
    /// New flows whose ports were in use towards their backend, so that it sees another one.
    pub clashes: u64,
}

/// One backend.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct BackendView {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// `serving`: it gets new flows; `kept`: it serves those that it has.
    pub state: &'static str,
    /// Its share of new flows, from 0 to 1.
    pub share: f64,
}

/// A Service without a frontend.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LeftView {
    /// `namespace/name`.
    pub service: String,
    /// The reason.
    pub reason: String,
}

impl ServiceList {
    /// Reads the maps and the note.
    ///
    /// # Errors
    /// The node is not initialised, or its maps cannot be read.
    pub fn read(paths: &Paths) -> Result<Self, MachineError> {
        // Without it there are numbers and no names.
        let note = ServiceNote::load(paths).ok().flatten().unwrap_or_default();
        let mut found = mapped(&paths.pins())?;
        let mut frontends = Vec::new();
        for noted in note.frontends {
            let mapped = found.remove(&noted.frontend).unwrap_or_else(|| bare(noted.frontend));
            frontends.push(named(mapped, noted));
        }
        frontends.extend(found.into_values());
        frontends.sort_by(|a, b| {
            let key = |one: &FrontendView| (one.service.clone(), one.address, one.port, one.protocol);
            key(a).cmp(&key(b))
        });
        let left = note.left.into_iter();
        let left =
            left.map(|(name, reason)| LeftView { service: name.to_string(), reason: reason.to_string() });
        Ok(Self { frontends, left: left.collect() })
    }
}

/// Reads the frontends in the maps.
fn mapped(pins: &Pins) -> Result<BTreeMap<Frontend, FrontendView>, MachineError> {
    let maps = ServiceMaps::open(pins)?;
    let mut backends: BTreeMap<u32, Vec<Backend>> = BTreeMap::new();
    for (key, value) in maps.backends.entries()? {
        let backend = Backend { address: value.address.into(), port: value.port };
        backends.entry(key.service).or_default().push(backend);
    }
    let mut found = BTreeMap::new();
    for (key, value) in maps.services.entries()? {
        let Some(frontend) = frontend(&key) else { continue };
        let mut own = backends.remove(&value.id).unwrap_or_default();
        own.sort();
        found.insert(frontend, view(frontend, &value, &own, maps.counters(value.id)?.unwrap_or_default()));
    }
    Ok(found)
}

fn frontend(key: &ServiceKey) -> Option<Frontend> {
    let protocol = Protocol::ALL.into_iter().find(|protocol| u16::from(protocol.number()) == key.protocol)?;
    Some(Frontend { address: key.address.into(), port: key.port, protocol })
}

fn view(
    frontend: Frontend,
    value: &ServiceValue,
    own: &[Backend],
    counters: naru_abi::ServiceCounters,
) -> FrontendView {
    let is_left = value.flags & service_flags::STACK != 0;
    #[expect(clippy::cast_precision_loss, reason = "no Service has so many backends")]
    let share = 1.0 / own.len() as f64;
    let backend =
        |one: &Backend| BackendView { address: one.address, port: one.port, state: "serving", share };
    FrontendView {
        backends: if is_left { Vec::new() } else { own.iter().map(backend).collect() },
        affinity: (value.affinity > 0).then_some(value.affinity),
        stack: is_left.then(|| "left to the stack".to_owned()),
        translated: counters.translated,
        left: counters.stack,
        clashes: counters.clashes,
        ..bare(frontend)
    }
}

/// A frontend that is in no map.
fn bare(Frontend { address, port, protocol }: Frontend) -> FrontendView {
    FrontendView {
        service: String::new(),
        port_name: String::new(),
        address,
        port,
        protocol: protocol.label(),
        backends: Vec::new(),
        affinity: None,
        stack: Some("not in the maps".to_owned()),
        translated: 0,
        left: 0,
        clashes: 0,
    }
}

fn named(mapped: FrontendView, noted: FrontendNote) -> FrontendView {
    let kept = noted.kept.iter().map(|backend| BackendView {
        address: backend.address,
        port: backend.port,
        state: "kept",
        share: 0.0,
    });
    FrontendView {
        service: noted.service.to_string(),
        port_name: noted.port_name,
        affinity: mapped.affinity.or(noted.affinity),
        stack: noted.stack.map(|reason| reason.to_string()).or(mapped.stack),
        backends: mapped.backends.into_iter().chain(kept).collect(),
        ..mapped
    }
}
