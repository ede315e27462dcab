//! A node, a pod and an overlay device as the tests need them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use naru_netlink::links::{
    HostSide, LinkError, Links, Mac, Overlay, PairSpec, PodAddress, PodRoute, PodSide, wire_pod,
};
use naru_netlink::{FilterMark, Gateways, Marks};

pub use crate::support::Netns;

/// Any values: the tests check that the adapters keep to them.
pub const MARKS: Marks = Marks {
    protocol: 150,
    alias_prefix: "naru1:",
    filter: FilterMark { priority: 5230, handle: 1 },
    gateways: Gateways { v4: Ipv4Addr::new(169, 254, 1, 1), v6: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1) },
};

pub const POD_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
pub const HOST_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);
pub const NODE: [&str; 2] = ["192.0.2.1", "2001:db8::1"];
pub const POD: [&str; 2] = ["10.32.0.5", "fd10:32::5"];
pub const ALIAS: &str = "naru1:net/c0ffee/eth0/7";

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A node's namespace: its addresses on the loopback device.
pub fn node() -> Netns {
    let netns = Netns::new();
    netns.sh("ip link set lo up; ip addr add 192.0.2.1/32 dev lo; ip addr add 2001:db8::1/128 dev lo nodad");
    netns
}

pub fn spec(name: &str) -> PairSpec<'_> {
    PairSpec {
        host_name: name,
        host_mac: HOST_MAC,
        alias: ALIAS,
        pod_name: "eth0",
        pod_mac: POD_MAC,
        mtu: 1450,
    }
}

pub fn default_routes() -> [PodRoute; 2] {
    ["0.0.0.0/0", "::/0"]
        .map(|text| PodRoute { mtu: Some(1430), ..PodRoute::new(text.parse().unwrap(), None) })
}

/// A pod of both families on the node, as the plugin wires it.
pub fn attach(links: &Links, pod: &Netns, name: &str) -> Result<u32, LinkError> {
    let index = links.create_pair(&spec(name), pod.fd())?;
    let addresses = [0, 1].map(|i| PodAddress { ip: ip(POD[i]), source: Some(ip(NODE[i])) });
    links.activate(&HostSide { name, index, mtu: 1450, pod_mac: POD_MAC, addresses: &addresses })?;
    let (addresses, routes) = (POD.map(ip), default_routes());
    let (name, gateway_mac, subnets) = ("eth0", HOST_MAC, &[][..]);
    let side = PodSide { name, gateway_mac, addresses: &addresses, routes: &routes, subnets };
    assert_eq!(wire_pod(pod.fd(), &side, MARKS)?, routes);
    assert!(links.await_running(index)?);
    Ok(index)
}

pub fn overlay(port: u16) -> Overlay {
    Overlay { name: "naru-vx".to_owned(), port, mac: Mac([2, 1, 2, 3, 4, 5]), mtu: 1450 }
}
