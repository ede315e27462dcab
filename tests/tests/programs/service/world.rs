//! A Service in the maps, as user space writes it.

use std::net::IpAddr;

use naru_abi::{
    BackendKey, BackendValue, Hook, MemberKey, Outcome, ServiceCounters, ServiceKey, ServiceState,
    ServiceValue,
};
use naru_bpf::ServiceMaps;
use naru_e2e::wire::checksum::{internet, pseudo_header};

use crate::{
    frames::Packet,
    node::{Node, config},
    run::{action, growth, run},
    world::{Family, Pod, populate},
};

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

/// Flags of TCP.
pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;

/// `packet` with this segment or datagram, its checksum right; `flags` are of TCP, or the first chunk of SCTP.
pub fn carrying(packet: Packet, protocol: u16, ports: (u16, u16), flags: u8) -> Packet {
    let ends = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
    let (mut payload, checksum) = match protocol {
        TCP => ([&ends[..], &[0, 0, 0, 1, 0, 0, 0, 0, 5 << 4, flags, 0, 9, 0, 0, 0, 0]].concat(), Some(16)),
        UDP => ([&ends[..], &[0, 12, 0, 0], b"naru"].concat(), Some(6)),
        _ => ([&ends[..], &[1, 2, 3, 4, 5, 6, 7, 8, flags, 0, 0, 4]].concat(), None),
    };
    let number = u8::try_from(protocol).unwrap();
    if let Some(at) = checksum {
        let pseudo = pseudo_header(packet.source, packet.destination, number, payload.len());
        let sum = internet(&[&pseudo, &payload]).to_be_bytes();
        payload[at..at + 2].copy_from_slice(&sum);
    }
    packet.carrying(number, payload)
}

/// A packet of `pod` to `to`.
pub fn sent(pod: Pod, to: IpAddr, protocol: u16, ports: (u16, u16), flags: u8) -> Packet {
    let family = if to.is_ipv4() { Family::V4 } else { Family::V6 };
    carrying(pod.sends(family, to), protocol, ports, flags)
}

/// Runs a packet that `pod` sends through its program; returns its outcome and how it leaves.
pub fn send(node: &Node, pod: Pod, packet: &Packet) -> (Outcome, Vec<u8>) {
    through(node, Hook::FromPod, pod, &packet.frame())
}

/// The same of any frame at any hook of a pod.
pub fn through(node: &Node, hook: Hook, pod: Pod, frame: &[u8]) -> (Outcome, Vec<u8>) {
    let stats = node.datapath().stats().unwrap();
    let before = stats.totals().unwrap();
    let ran = run(node, hook, node.ifindex(pod.interface), frame, None);
    let [end] = growth(&stats, &before)[..] else { panic!("one outcome") };
    assert_eq!(ran.action, action(hook, end.outcome));
    (end.outcome, ran.frame)
}

/// A node with the table's pods.
pub fn populated() -> Node {
    let node = Node::new();
    populate(&node);
    node.datapath().config().unwrap().set(config(node.ifindex("pod5"))).unwrap();
    node
}

/// The ports of a frame whose IP header has nothing between it and the payload.
pub fn ports(frame: &[u8]) -> (u16, u16) {
    let at = if frame[12..14] == [0x08, 0x00] { 34 } else { 54 };
    let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    (port(at), port(at + 2))
}
