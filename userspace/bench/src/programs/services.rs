//! Services in the maps of a scene, each before one pod of the node.

use std::net::Ipv4Addr;

use naru_abi::{BackendKey, BackendValue, ServiceKey, ServiceState, ServiceValue};
use naru_bpf::{Pins, ServiceMaps, Translations};

use super::{PODS, frame, scene::pod};

const UDP: u16 = 17;

/// The ClusterIP of Service `number`.
pub fn address(number: u32) -> Ipv4Addr {
    (u32::from(Ipv4Addr::new(10, 96, 0, 0)) + number).into()
}

/// The port of its backend: no two Services have the same backend and port.
pub fn target_port(number: u32) -> u16 {
    10_000 + u16::try_from(number / PODS[0]).unwrap_or_default()
}

/// Writes that many Services.
pub fn fill(pins: &Pins, count: u32) -> anyhow::Result<()> {
    let mut maps = ServiceMaps::open(pins)?;
    let mut state = ServiceState { on: 1, fresh_until: u64::MAX, ..ServiceState::OFF };
    for number in 0..count {
        let key = ServiceKey {
            address: naru_abi::Addr::v4(address(number).octets()),
            port: frame::DESTINATION_PORT,
            protocol: UDP,
        };
        let backend = BackendKey { service: number, slot: 0 };
        let address = naru_abi::Addr::v4(pod(number % PODS[0]).octets());
        let value = BackendValue { key: backend, address, port: target_port(number), reserved: 0 };
        maps.start_counting(number)?;
        maps.backends.put(&backend, value)?;
        maps.services.put(&key, ServiceValue { key, id: number, count: 1, flags: 0, affinity: 0 })?;
        state.v4 = state.v4.with(key.address);
    }
    Ok(maps.set_state(state)?)
}

/// Forgets every flow.
pub fn forget_flows(pins: &Pins) -> anyhow::Result<()> {
    let mut maps = Translations::open(pins)?;
    for (key, _) in maps.flows.entries()? {
        maps.flows.delete(&key)?;
    }
    for (key, _) in maps.answers.entries()? {
        maps.answers.delete(&key)?;
    }
    Ok(())
}
