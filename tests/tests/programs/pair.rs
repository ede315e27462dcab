//! Two nodes on one link, each with a pod: real packets from program to program, and from program to device.

use naru_abi::{Config, Destination, Hook, Outcome, Prefix, RouteKind, RouteValue, Transport, features};
use naru_bpf::{AttachMode, Side, attach};
use naru_e2e::{
    offload::{Offload, switch},
    probe::Host,
    tool,
};

use crate::{
    kernel::has_encapsulation,
    node::{Node, PORT, config, ip},
    traffic::{LivePod, wait_for_queue},
    world::{A, FAMILIES, FAR, Family, POD_MTU, Pod},
};

/// The way in which a node sends to the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// By the tunnel device, in both directions.
    Device,
    /// Encapsulated and decapsulated by the programs.
    Own,
    /// By direct routing, by the programs.
    Direct,
    /// By direct routing, by the stack.
    Stack,
}

impl Mode {
    /// Returns true if the running kernel supports the mode.
    pub fn is_possible(self) -> bool {
        self != Self::Own || has_encapsulation()
    }

    fn features(self) -> u32 {
        match self {
            Self::Stack => 0,
            Self::Device => features::DIRECT,
            Self::Own => features::OWN_ENCAPSULATION | features::DIRECT,
            Self::Direct if has_encapsulation() => features::DIRECT | features::OWN_ENCAPSULATION,
            Self::Direct => features::DIRECT,
        }
    }

    fn transport(self) -> Transport {
        match self {
            Self::Device | Self::Own => Transport::Tunnel,
            Self::Direct | Self::Stack => Transport::Direct,
        }
    }
}

/// A node of the pair.
pub struct Member {
    pub node: Node,
    pub pod: LivePod,
}

pub struct Pair {
    pub near: Member,
    pub far: Member,
}

/// The uplink of either node.
pub const UPLINK: &str = "u0";

impl Pair {
    pub fn new(underlay: Family, modes: [Mode; 2]) -> Self {
        let nodes = [Node::new(), Node::new()];
        let other = nodes[1].netns().name();
        nodes[0].ip(&format!("link add name {UPLINK} type veth peer name {UPLINK} netns {other}"));
        let mut number = 0;
        let [near, far] = nodes.map(|node| {
            number += 1;
            Member::new(node, number, underlay, modes[usize::from(number - 1)])
        });
        for member in [&near, &far] {
            wait_for_queue(member.node.netns(), UPLINK);
        }
        Self { near, far }
    }

    /// The two pods, as probes take them.
    pub fn hosts(&self, family: Family) -> [Host; 2] {
        [&self.near, &self.far].map(|member| member.pod.host(family))
    }
}

impl Member {
    fn new(node: Node, number: u8, underlay: Family, mode: Mode) -> Self {
        let pod = if number == 1 { A } else { FAR };
        let overhead = if underlay == Family::V4 { 50 } else { 70 };
        // Without a link-local address that is past its detection no neighbour is asked for in the name of a pod.
        for setting in ["ipv4.ip_forward=1", "ipv6.conf.all.forwarding=1", "ipv6.conf.u0.accept_dad=0"] {
            tool::run(node.netns(), &format!("sysctl -qw net.{setting}")).unwrap();
        }
        node.ip(&format!("link set {UPLINK} mtu {}", POD_MTU + overhead));
        node.ip(&format!("address add 192.0.2.{number}/24 dev {UPLINK}"));
        node.ip(&format!("address add 2001:db8::{number}/64 dev {UPLINK} nodad"));
        node.ip(&format!("link set {UPLINK} up"));
        node.ip(&format!("link add name vx mtu {POD_MTU} type vxlan external dstport {PORT} udp6zerocsumrx"));
        node.ip("link set vx addrgenmode none");
        node.ip("link set vx up");
        let member = Self { pod: LivePod::new(&node, pod), node };
        member.stack_routes(pod);
        member.set(underlay, mode);
        for (side, device) in [(Side::Overlay, "vx"), (Side::Underlay, UPLINK)] {
            member.node.run(|| attach(&member.node.pins, side, device, AttachMode::Auto).unwrap());
        }
        member
    }

    /// Adds the routes that the stack needs where it does the programs' work: to the own pod, and to the other node's.
    fn stack_routes(&self, pod: Pod) {
        let (other, mac) = (3 - pod.node, crate::traffic::text(pod.mac()));
        for family in FAMILIES {
            let address = pod.address(family);
            self.node.ip(&format!("route add {address} dev {}", pod.interface));
            self.node
                .ip(&format!("neigh replace {address} lladdr {mac} dev {} nud permanent", pod.interface));
        }
        self.node.ip(&format!("route add 10.{other}.0.0/24 via 192.0.2.{other}"));
        self.node.ip(&format!("route add fd00:{other}::/64 via 2001:db8::{other}"));
    }

    /// Writes the maps: how this node sends from now on.
    pub fn set(&self, underlay: Family, mode: Mode) {
        let (own, other) = (self.pod.pod.node, 3 - self.pod.pod.node);
        let address = |number: u8, family: Family| {
            family.pick(&format!("192.0.2.{number}"), &format!("2001:db8::{number}"))
        };
        let datapath = self.node.datapath();
        let mut routes = datapath.routes().unwrap();
        let far = |kind: fn(Transport) -> RouteKind| {
            RouteValue::remote(kind(mode.transport()), address(other, underlay).into(), POD_MTU)
        };
        for family in FAMILIES {
            let (length, host) = if family == Family::V4 { (24, 32) } else { (64, 128) };
            let block = |number: u8| family.pick(&format!("10.{number}.0.0"), &format!("fd00:{number}::"));
            let entries = [
                (block(own), length, RouteValue::local(Destination::OwnBlock)),
                (block(other), length, far(RouteKind::pods)),
                (address(other, family), host, far(RouteKind::node)),
                (address(own, family), host, RouteValue::local(Destination::OwnNode)),
            ];
            for (ip, length, value) in entries {
                routes.insert(Prefix::new(ip, length), value).unwrap();
            }
        }
        let config = Config {
            features: mode.features(),
            node_v4: address(own, Family::V4).into(),
            node_v6: address(own, Family::V6).into(),
            ..config(self.node.ifindex("vx"))
        };
        datapath.config().unwrap().set(config).unwrap();
    }

    /// Packets that came to an end at a hook so far.
    pub fn count(&self, hook: Hook, outcome: impl Into<Outcome>) -> u64 {
        self.node.datapath().stats().unwrap().get(hook, outcome.into()).unwrap().packets
    }

    /// Switches an offload of the pod's interface and of the uplink.
    pub fn offload(&self, offload: Offload, on: bool) {
        for (netns, device) in [(self.pod.netns(), "eth0"), (self.node.netns(), UPLINK)] {
            switch(netns, device, offload, on).unwrap();
        }
    }

    /// Runs `ip` in the node.
    pub fn ip(&self, arguments: &str) {
        ip(self.node.netns(), arguments);
    }
}
