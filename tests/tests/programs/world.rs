//! Pods and routes of the node that the tables of cases use.

use std::net::IpAddr;

use naru_abi::{
    Addr, Destination, InterfaceValue, PodValue, Prefix, RouteKind, RouteValue, Transport, pod_flags,
    route_flags,
};
use naru_e2e::tool;

use crate::{
    frames::{Mac, Packet},
    node::Node,
};

pub const POD_MTU: u32 = 1400;
pub const PATH_MTU: u32 = 1350;
pub const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// The address of this family.
    pub fn pick(self, v4: &str, v6: &str) -> IpAddr {
        if self == Self::V4 { v4.parse().unwrap() } else { v6.parse().unwrap() }
    }

    /// Bytes of its IP header.
    pub fn header(self) -> usize {
        if self == Self::V4 { 20 } else { 40 }
    }

    pub fn gateway(self) -> IpAddr {
        self.pick("169.254.1.1", "fe80::1")
    }

    pub fn remote_pod(self) -> IpAddr {
        self.pick("10.2.0.9", "fd00:2::9")
    }

    pub fn remote_node(self) -> IpAddr {
        self.pick("192.0.2.2", "2001:db8::2")
    }

    pub fn local_node(self) -> IpAddr {
        self.pick("192.0.2.1", "2001:db8::1")
    }

    pub fn unassigned(self) -> IpAddr {
        self.pick("10.1.0.200", "fd00:1::c8")
    }

    pub fn outside(self) -> IpAddr {
        self.pick("198.51.100.7", "2001:db8:ffff::7")
    }
}

/// A pod of a node, with the same number in both families.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pod {
    /// 1 for the node of the table, 2 for the remote one.
    pub node: u8,
    pub number: u8,
    pub interface: &'static str,
    pub flags: u32,
}

pub const A: Pod = Pod { node: 1, number: 1, interface: "pod1", flags: 0 };
pub const B: Pod = Pod { node: 1, number: 2, interface: "pod2", flags: 0 };
pub const BY_STACK: Pod = Pod { node: 1, number: 3, interface: "pod3", flags: pod_flags::NO_SHORTCUT };
pub const FIXED_MAC: Pod = Pod { node: 1, number: 4, interface: "pod4", flags: pod_flags::CHECK_MAC };
pub const ANY_SOURCE: Pod = Pod { node: 1, number: 5, interface: "pod5", flags: pod_flags::ANY_SOURCE };
pub const BY_DHCP: Pod = Pod { node: 1, number: 6, interface: "pod6", flags: pod_flags::DHCP };
pub const PODS: [Pod; 6] = [A, B, BY_STACK, FIXED_MAC, ANY_SOURCE, BY_DHCP];

/// The remote node's pod, of [`Family::remote_pod`].
pub const FAR: Pod = Pod { node: 2, number: 9, interface: "pod9", flags: 0 };

impl Pod {
    pub fn address(self, family: Family) -> IpAddr {
        let Self { node, number, .. } = self;
        family.pick(&format!("10.{node}.0.{number}"), &format!("fd00:{node}::{number:x}"))
    }

    pub fn mac(self) -> Mac {
        [2, 0, 0, 0, 1, self.number]
    }

    pub fn host_mac(self) -> Mac {
        [2, 0, 0, 0, 2, self.number]
    }

    /// A UDP packet of this pod to its gateway's MAC address.
    pub fn sends(self, family: Family, destination: IpAddr) -> Packet {
        Packet {
            destination_mac: self.host_mac(),
            source_mac: self.mac(),
            source: self.address(family),
            destination,
            hops: 64,
            protocol: 0,
            payload: Vec::new(),
            extension: None,
            fragment: None,
        }
        .udp(53)
    }
}

/// Makes the interfaces and fills the maps.
pub fn populate(node: &Node) {
    for pod in PODS {
        let name = pod.interface;
        node.ip(&format!("link add name {name} type veth peer name {name}p"));
        add_pod(node, pod);
    }
    add_routes(node, |family| family);
    add_uplink(node);
}

/// A device towards the other nodes, and what the kernel and the map know of them: 10.2 by the tunnel, 10.3 by the
/// device only, 10.4 and node 4 without the tunnel, 10.5 and 10.6 as 10.2 and 10.4, but nowhere to be found.
fn add_uplink(node: &Node) {
    node.ip("link add name u0 type veth peer name u1");
    for setting in ["ipv4.ip_forward=1", "ipv6.conf.all.forwarding=1"] {
        tool::run(node.netns(), &format!("sysctl -qw net.{setting}")).unwrap();
    }
    let mut routes = node.datapath().routes().unwrap();
    for family in FAMILIES {
        let length = if family == Family::V4 { 24 } else { 64 };
        let own = family.local_node();
        node.ip(&format!(
            "address add {own}/{length} dev u0 {}",
            if family == Family::V6 { "nodad" } else { "" }
        ));
        let nowhere = family.outside();
        let entries = [
            (3, Transport::Tunnel, family.remote_node(), route_flags::KERNEL_ENCAPSULATION),
            (4, Transport::Direct, family.pick("192.0.2.4", "2001:db8::4"), 0),
            (5, Transport::Tunnel, nowhere, 0),
            (6, Transport::Direct, nowhere, 0),
        ];
        let value = |kind, node: IpAddr| RouteValue::remote(kind, node.into(), PATH_MTU);
        for (number, transport, far, flags) in entries {
            let block = family.pick(&format!("10.{number}.0.0"), &format!("fd00:{number}::"));
            let value = RouteValue { flags, ..value(RouteKind::pods(transport), far) };
            routes.insert(Prefix::new(block, length), value).unwrap();
        }
        let direct = family.pick("192.0.2.4", "2001:db8::4");
        let host = if family == Family::V4 { 32 } else { 128 };
        routes.insert(Prefix::new(direct, host), value(RouteKind::node(Transport::Direct), direct)).unwrap();
    }
    for device in ["u0", "u1"] {
        node.ip(&format!("link set {device} up"));
    }
    node.ip("route add 10.4.0.0/24 via 192.0.2.4");
    node.ip("route add fd00:4::/64 via 2001:db8::4");
}

/// The entry of a pod's host veth.
pub fn interface(pod: Pod, ifindex: u32) -> InterfaceValue {
    InterfaceValue { ifindex, flags: pod.flags, subject: 0, host_mac: pod.host_mac(), pod_mac: pod.mac() }
}

/// Writes the map entries of a pod whose host veth is there.
pub fn add_pod(node: &Node, pod: Pod) {
    let ifindex = node.ifindex(pod.interface);
    let datapath = node.datapath();
    let value = interface(pod, ifindex);
    datapath.interfaces().unwrap().add(ifindex, value).unwrap();
    for family in FAMILIES {
        let value = PodValue {
            generation: 1,
            ifindex,
            flags: pod.flags,
            mtu: POD_MTU,
            pod_mac: pod.mac(),
            host_mac: pod.host_mac(),
            ..PodValue::EMPTY
        };
        datapath.pods().unwrap().insert(pod.address(family), value).unwrap();
    }
}

fn by_tunnel(kind: fn(Transport) -> RouteKind, node: IpAddr) -> RouteValue {
    RouteValue::remote(kind(Transport::Tunnel), Addr::from(node), PATH_MTU)
}

/// Writes the map entries of blocks and nodes; `underlay` is the family of the tunnel for packets of a family.
pub fn add_routes(node: &Node, underlay: impl Fn(Family) -> Family) {
    let mut routes = node.datapath().routes().unwrap();
    for family in FAMILIES {
        let (block, full) = if family == Family::V4 { (24, 32) } else { (64, 128) };
        let far = underlay(family).remote_node();
        let entries = [
            (family.pick("10.1.0.0", "fd00:1::"), block, RouteValue::local(Destination::OwnBlock)),
            (family.pick("10.2.0.0", "fd00:2::"), block, by_tunnel(RouteKind::pods, far)),
            (family.remote_node(), full, by_tunnel(RouteKind::node, far)),
            (family.local_node(), full, RouteValue::local(Destination::OwnNode)),
        ];
        for (ip, length, value) in entries {
            routes.insert(Prefix::new(ip, length), value).unwrap();
        }
    }
}
