//! Services in the maps: what was compiled is written by difference, in an order in which each program that reads
//! meanwhile finds a backend that serves; and flows are forgotten whose backend or end they have outlived.
//!
//! Nothing is kept between two calls: what the maps hold is read each time, so that whatever others did to them, or a
//! process that was killed in between, is made up for.

mod flows;
mod learn;
mod tables;

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use naru_abi::{SERVICES_TRUSTED, ServiceKey, ServiceState, service_flags};
use naru_bpf::{ServiceMaps, Translations};
use naru_core::services::{Backend, Frontend, Protocol, Table, Translation};

use crate::{machine::MachineError, paths::Paths, symmetry};
use tables::Tables;

pub use flows::sweep;

/// Makes the maps say what `table` says, and lets flows of protocols without connections leave backends that went.
/// Returns the number of changes.
///
/// # Errors
/// The table does not fit the maps, of which nothing is changed then; or the kernel's.
pub fn apply(paths: &Paths, table: &Table) -> Result<usize, MachineError> {
    let pins = paths.pins();
    let mut tables = Tables::read(ServiceMaps::open(&pins)?)?;
    let mut translations = Translations::open(&pins)?;
    tables.fits(table)?;
    let wanted: BTreeMap<ServiceKey, (&Frontend, &Translation)> =
        table.frontends.iter().map(|(frontend, one)| (key(frontend), (frontend, one))).collect();
    let flows = translations.flows.entries()?;
    tables.avoid(flows.iter().map(|(_, flow)| flow.service));
    let gone: Vec<ServiceKey> = tables.held.keys().filter(|key| !wanted.contains_key(key)).copied().collect();
    for key in gone {
        tables.remove(&key)?;
    }
    let is_new = tables.widen(wanted.keys().map(|key| key.address), !flows.is_empty())?;
    let mut fresh = Vec::new();
    for (key, (frontend, one)) in &wanted {
        if tables.set(*key, chosen(one), flags(one), one.affinity.unwrap_or(0), is_learned(frontend))? {
            fresh.push(*key);
        }
    }
    if !fresh.is_empty() {
        learn::enter(&mut translations, &fresh)?;
        tables.learned(&fresh)?;
    }
    let left = flows::leave(&mut translations, &wanted)?;
    let is_off = wanted.values().all(|(_, one)| one.stack.is_some()) && left.is_empty;
    tables.switch(!is_off)?;
    Ok(tables.writes + left.gone + usize::from(is_new))
}

/// Says that what the maps hold was true `age` ago: new flows are translated until [`SERVICES_TRUSTED`] after that.
///
/// # Errors
/// The kernel's.
pub fn refresh(paths: &Paths, age: Duration) -> Result<(), MachineError> {
    let mut maps = ServiceMaps::open(&paths.pins())?;
    let trusted = Duration::from_secs(SERVICES_TRUSTED).saturating_sub(age);
    let trusted = u64::try_from(trusted.as_nanos()).unwrap_or(u64::MAX);
    let state = maps.state()?;
    Ok(maps.set_state(ServiceState { fresh_until: symmetry::now().saturating_add(trusted), ..state })?)
}

/// The key of a frontend.
#[must_use]
pub fn key(frontend: &Frontend) -> ServiceKey {
    ServiceKey {
        address: frontend.address.into(),
        port: frontend.port,
        protocol: frontend.protocol.number().into(),
    }
}

/// The backends of new flows.
fn chosen(one: &Translation) -> &[Backend] {
    if one.stack.is_some() { &[] } else { &one.chosen }
}

fn flags(one: &Translation) -> u32 {
    if one.stack.is_some() { service_flags::STACK } else { 0 }
}

/// Returns true if flows that the stack translates cannot be told from new ones by their packets.
fn is_learned(frontend: &Frontend) -> bool {
    frontend.protocol == Protocol::Udp
}

/// The addresses of backends as the maps have them.
fn backend(address: naru_abi::Addr, port: u16) -> Backend {
    Backend { address: IpAddr::from(address), port }
}
