//! A Service in the maps, as user space writes it.

use std::net::IpAddr;

use naru_abi::{
    BackendKey, BackendValue, MemberKey, ServiceCounters, ServiceKey, ServiceState, ServiceValue,
};
use naru_bpf::ServiceMaps;

use crate::{node::Node, world::Family};

pub const TCP: u16 = 6;
pub const UDP: u16 = 17;
pub const SCTP: u16 = 132;
/// The port of every Service here.
pub const PORT: u16 = 80;

/// The address of a Service; those of one family are in one range.
pub fn address(family: Family, number: u8) -> IpAddr {
    family.pick(&format!("10.96.0.{number}"), &format!("fd96::{number:x}"))
}

/// A port of a Service.
#[derive(Clone, Copy)]
pub struct Served {
    pub key: ServiceKey,
    pub id: u32,
    pub flags: u32,
    pub affinity: u32,
}

impl Served {
    /// A Service that has a number of its own for each address and protocol.
    pub fn new(address: IpAddr, protocol: u16) -> Self {
        let last = match address {
            IpAddr::V4(v4) => u32::from(v4.octets()[3]),
            IpAddr::V6(v6) => 1000 + u32::from(v6.octets()[15]),
        };
        let key = ServiceKey { address: address.into(), port: PORT, protocol };
        Self { key, id: last * 200 + u32::from(protocol), flags: 0, affinity: 0 }
    }

    pub fn with(self, flags: u32) -> Self {
        Self { flags, ..self }
    }

    pub fn sticking(self, affinity: u32) -> Self {
        Self { affinity, ..self }
    }

    /// Writes it with these backends, and that packets are looked for.
    pub fn write(self, node: &Node, backends: &[(IpAddr, u16)]) {
        let mut maps = node.datapath().services().unwrap();
        if maps.services.get(&self.key).unwrap().is_none() {
            maps.start_counting(self.id).unwrap();
        }
        let before = maps.services.get(&self.key).unwrap().map_or(0, |value| value.count);
        for (slot, (address, port)) in backends.iter().enumerate() {
            let slot = u32::try_from(slot).unwrap();
            let key = BackendKey { service: self.id, slot };
            let value = BackendValue { key, address: (*address).into(), port: *port, reserved: 0 };
            maps.backends.put(&key, value).unwrap();
        }
        let count = u32::try_from(backends.len()).unwrap();
        let value =
            ServiceValue { key: self.key, id: self.id, count, flags: self.flags, affinity: self.affinity };
        maps.services.put(&self.key, value).unwrap();
        for slot in count..before {
            maps.backends.delete(&BackendKey { service: self.id, slot }).unwrap();
        }
        self.write_members(&mut maps, backends);
        self.switch_on(&mut maps);
    }

    fn write_members(self, maps: &mut ServiceMaps, backends: &[(IpAddr, u16)]) {
        for (key, _) in maps.members.entries().unwrap() {
            if key.service == self.id {
                maps.members.delete(&key).unwrap();
            }
        }
        if self.affinity == 0 {
            return;
        }
        for (slot, (address, port)) in backends.iter().enumerate() {
            let key = MemberKey { address: (*address).into(), service: self.id, port: *port, reserved: 0 };
            maps.members.put(&key, u32::try_from(slot).unwrap()).unwrap();
        }
    }

    fn switch_on(self, maps: &mut ServiceMaps) {
        let mut state = maps.state().unwrap();
        if state.on == 0 {
            state = ServiceState::OFF;
        }
        let range = if self.key.address.is_v4() { &mut state.v4 } else { &mut state.v6 };
        *range = range.with(self.key.address);
        maps.set_state(ServiceState { on: 1, fresh_until: u64::MAX, ..state }).unwrap();
    }

    pub fn counters(self, node: &Node) -> ServiceCounters {
        node.datapath().services().unwrap().counters(self.id).unwrap().unwrap()
    }
}
