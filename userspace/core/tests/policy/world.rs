//! Random clusters, small enough that everything meets everything.

use std::{net::IpAddr, sync::Arc};

use naru_abi::policy::Direction;
use naru_core::policy::{
    model::{
        Block, Condition, Event, Labels, NamedPort, Namespaces, NetworkPolicy, Node, Peer, Phase, Pod,
        PolicyName, Port, Ports, Protocol, Requirement, Rule, Selector,
    },
    oracle::Packet,
};

/// The node whose tables are compiled.
pub const HERE: &str = "node1";

/// Random numbers from a seed (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.number() % u64::try_from(bound).unwrap()).unwrap()
    }

    pub fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    pub fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    fn some<T>(&mut self, at_most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(at_most + 1)).map(|_| make(self)).collect()
    }
}

const NAMESPACES: [&str; 3] = ["shop", "bank", "farm"];
const KEYS: [&str; 3] = ["app", "tier", "team"];
const VALUES: [&str; 3] = ["a", "b", "c"];
const NAMES: [&str; 2] = ["http", "dns"];
const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
const PORTS: [u16; 6] = [1, 53, 80, 81, 8080, 65_535];
const BLOCKS: [&str; 14] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.0.0.0/28",
    "10.0.0.4/30",
    "10.0.1.0/28",
    "10.0.0.5/32",
    "192.168.0.0/24",
    "192.168.0.1/32",
    "::/0",
    "fd00::/16",
    "fd00::/124",
    "fd00::5/128",
    "fd00:0:0:1::/124",
    "::/64",
];
const NODE_BLOCKS: [&str; 4] = ["10.0.0.0/28", "10.0.1.0/28", "fd00::/124", "fd00:0:0:1::/124"];

/// Addresses that packets come from and go to.
pub fn addresses() -> Vec<IpAddr> {
    let pods = (1..8).flat_map(|last| {
        [
            format!("10.0.0.{last}"),
            format!("10.0.1.{last}"),
            format!("fd00::{last}"),
            format!("fd00:0:0:1::{last}"),
        ]
    });
    let others =
        ["192.168.0.1", "192.168.0.2", "192.168.1.1", "10.9.0.1", "8.8.8.8", "fd99::1", "::1", "2001:db8::1"];
    pods.chain(others.map(str::to_owned)).map(|text| text.parse().unwrap()).collect()
}

pub fn labels(random: &mut Random) -> Labels {
    random.some(3, |random| (random.pick(&KEYS), random.pick(&VALUES))).into_iter().collect()
}

pub fn selector(random: &mut Random) -> Selector {
    Selector::new(random.some(2, |random| {
        let values = vec![random.pick(&VALUES).into(), random.pick(&VALUES).into()];
        let condition = match random.below(6) {
            0 => Condition::NotIn(values),
            1 => Condition::Exists,
            2 => Condition::DoesNotExist,
            _ => Condition::In(values),
        };
        Requirement { key: random.pick(&KEYS).into(), condition }
    }))
}

fn port(random: &mut Random) -> Port {
    let ports = match random.below(4) {
        0 => Ports::All,
        1 => Ports::Named(random.pick(&NAMES).into()),
        2 => Ports::Range(random.pick(&PORTS), random.pick(&PORTS)),
        _ => {
            let port = random.pick(&PORTS);
            Ports::Range(port, port)
        }
    };
    Port { protocol: random.pick(&PROTOCOLS), ports }
}

fn block(random: &mut Random) -> Block {
    let net = |random: &mut Random| random.pick(&BLOCKS).parse().unwrap();
    let except = random.some(2, net);
    Block::new(net(random), &except)
}

fn rule(random: &mut Random) -> Rule {
    let peers = random.some(3, |random| match random.below(4) {
        0 => Peer::Block(block(random)),
        1 => Peer::Pods { namespaces: Namespaces::Own, pods: selector(random) },
        _ => Peer::Pods { namespaces: Namespaces::Selected(selector(random)), pods: selector(random) },
    });
    Rule { peers, ports: random.some(3, port) }
}

pub fn policy(random: &mut Random, name: PolicyName) -> NetworkPolicy {
    let mut direction = || (!random.one_in(3)).then(|| random.some(3, rule));
    let (ingress, egress) = (direction(), direction());
    NetworkPolicy { name, pods: selector(random), ingress, egress }
}

pub fn pod(random: &mut Random, uid: String, claim: u64) -> Pod {
    let address = |random: &mut Random| {
        let text = match random.below(9) {
            0 => "192.168.0.1".to_owned(),
            1..5 => format!("10.0.{}.{}", random.below(2), 1 + random.below(7)),
            _ => format!("fd00:0:0:{}::{}", random.below(2), 1 + random.below(7)),
        };
        text.parse().unwrap()
    };
    let mut addresses = random.some(2, address);
    addresses.dedup();
    Pod {
        name: uid.clone(),
        uid,
        namespace: random.pick(&NAMESPACES).to_owned(),
        labels: labels(random),
        node: random.pick(&[HERE, HERE, "node2", ""]).to_owned(),
        addresses,
        host_network: random.one_in(8),
        phase: random.pick(&[Phase::Running, Phase::Running, Phase::Pending, Phase::Completed]),
        terminating: random.one_in(5),
        ports: random.some(3, |random| NamedPort {
            name: random.pick(&NAMES).into(),
            protocol: random.pick(&PROTOCOLS),
            port: random.pick(&PORTS),
        }),
        claim,
    }
}

fn node(random: &mut Random) -> Node {
    let address = |random: &mut Random| {
        random.pick(&["192.168.0.1", "192.168.0.2", "10.0.0.1", "fd00::1"]).parse().unwrap()
    };
    let block = |random: &mut Random| random.pick(&NODE_BLOCKS).parse().unwrap();
    Node { addresses: random.some(2, address), blocks: random.some(3, block) }
}

/// A random change of a random object.
pub fn event(random: &mut Random, claim: u64) -> Event {
    match random.below(10) {
        0..3 => {
            let namespace = random.pick(&NAMESPACES).to_owned();
            let name = PolicyName { namespace, name: format!("p{}", random.below(4)) };
            let policy = (!random.one_in(4)).then(|| Arc::new(policy(random, name.clone())));
            Event::Policy(name, policy)
        }
        3 => {
            let name = random.pick(&NAMESPACES).to_owned();
            Event::Namespace(name, (!random.one_in(4)).then(|| labels(random)))
        }
        4 => {
            let name = random.pick(&[HERE, "node2", "node3"]).to_owned();
            Event::Node(name, (!random.one_in(4)).then(|| node(random)))
        }
        _ => {
            let uid = format!("u{}", random.below(12));
            let gone = random.one_in(4);
            Event::Pod(uid.clone(), (!gone).then(|| Arc::new(pod(random, uid, claim))))
        }
    }
}

/// All packets that a pod may be asked about: every address, both directions, protocols with and without ports.
pub fn packets(addresses: &[IpAddr]) -> Vec<Packet> {
    let mut asked = vec![(1, 0), (58, 0), (17, 53), (17, 80), (132, 80), (132, 8080)];
    asked.extend([1, 2, 53, 79, 80, 81, 8080, 65_535].map(|port| (6, port)));
    let mut packets = Vec::new();
    for peer in addresses {
        for direction in Direction::ALL {
            packets.extend(asked.iter().map(|&(protocol, port)| Packet {
                direction,
                peer: *peer,
                protocol,
                port,
            }));
        }
    }
    packets
}
