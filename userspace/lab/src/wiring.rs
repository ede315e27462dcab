//! The switch, the uplinks and the outside host.

use anyhow::Context;
use naru_core::desired::MAIN_TABLE;
use naru_netlink::links::Links;
use naru_node::machine::MARKS;
use naru_sandbox::netns;

use crate::{
    layout::LabName,
    model::{Lab, Node},
    netlink::Netlink,
};

/// The bridge in the switch namespace.
const BRIDGE: &str = "switch";
/// Routing table of the outside host for packets from its listed addresses.
const LISTED_TABLE: u32 = 100;
/// Number of times that a link is waited for, 100 ms each time.
const PATIENCE: u32 = 20;

/// Creates the switch, the outside host's and the nodes' namespaces, joined and addressed.
pub fn build(name: &LabName, lab: &Lab) -> anyhow::Result<()> {
    netns::create(&lab.outside.netns, quiet)?;
    for node in &lab.nodes {
        netns::create(&node.netns, fresh_host)?;
    }
    netns::create(&name.netns("net"), || switch(lab))?;
    netns::inside(&lab.outside.netns, || outside(lab))?;
    lab.nodes.iter().try_for_each(|node| netns::inside(&node.netns, || uplink(lab, node)))?;
    let ports: Vec<&str> = lab.nodes.iter().map(|node| node.name.as_str()).chain(["out"]).collect();
    netns::inside(&name.netns("net"), || await_running(&ports))?;
    let hosts = lab.nodes.iter().map(|node| &node.netns).chain([&lab.outside.netns]);
    hosts.into_iter().try_for_each(|host| netns::inside(host, || await_running(&["eth0"])))
}

/// Waits until the links send: the kernel's link watch runs some time after they are up, and drops until then.
fn await_running(links: &[&str]) -> anyhow::Result<()> {
    let netlink = Links::open(MARKS)?;
    for name in links {
        let link = netlink.link(name)?.with_context(|| format!("link {name}: gone"))?;
        let runs = (0..PATIENCE).find_map(|_| match netlink.await_running(link.index) {
            Ok(false) => None,
            answer => Some(answer.map(drop)),
        });
        runs.with_context(|| format!("link {name}: does not carry after two seconds"))??;
    }
    Ok(())
}

/// Sets up a host that neither forwards nor joins more multicast groups than it must. Its link-local addresses serve at
/// once, as on a machine that has been up for two seconds: until then the kernel resolves no neighbour of a forwarded
/// packet.
fn quiet() -> anyhow::Result<()> {
    netns::set_sysctl("net/ipv6/conf/default/accept_dad", "0")?;
    netns::set_sysctl("net/ipv4/ip_forward", "0")?;
    netns::set_sysctl("net/ipv6/conf/all/forwarding", "0")
}

/// Sets up a node like a machine after boot: forwarding is off, so that init has to switch it on. Only the limit of one
/// ICMP error a second and peer is off, as experiments cause more.
fn fresh_host() -> anyhow::Result<()> {
    quiet()?;
    netns::set_sysctl("net/ipv4/icmp_ratelimit", "0")?;
    netns::set_sysctl("net/ipv6/icmp/ratelimit", "0")?;
    Netlink::open()?.set_up("lo")
}

/// One bridge with a port for each host; the switch's own stack stays out of the way.
fn switch(lab: &Lab) -> anyhow::Result<()> {
    quiet()?;
    for family in ["iptables", "ip6tables", "arptables"] {
        netns::set_sysctl(&format!("net/bridge/bridge-nf-call-{family}"), "0")?;
    }
    netns::set_sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
    let netlink = Netlink::open()?;
    netlink.add_bridge(BRIDGE, lab.mtu)?;
    netlink.add_uplink(BRIDGE, "out", &lab.outside.netns, lab.mtu)?;
    lab.nodes.iter().try_for_each(|node| netlink.add_uplink(BRIDGE, &node.name, &node.netns, lab.mtu))
}

/// The host beyond: nodes are its neighbours; it knows pods only as answers from its listed addresses.
fn outside(lab: &Lab) -> anyhow::Result<()> {
    let netlink = Netlink::open()?;
    netlink.set_up("lo")?;
    netlink.set_up("eth0")?;
    for address in &lab.outside.underlay {
        netlink.add_underlay_address("eth0", *address)?;
    }
    for address in lab.outside.addresses.iter().chain(&lab.outside.listed) {
        netlink.add_address("lo", *address, if address.is_ipv4() { 32 } else { 128 })?;
    }
    for listed in &lab.outside.listed {
        netlink.add_rule(*listed, LISTED_TABLE)?;
    }
    lab.nodes.iter().try_for_each(|node| routes_back(&netlink, node))
}

fn routes_back(netlink: &Netlink, node: &Node) -> anyhow::Result<()> {
    for block in &node.blocks {
        let same_family = |address: &&std::net::IpAddr| address.is_ipv4() == block.addr().is_ipv4();
        if let Some(via) = node.addresses.iter().find(same_family) {
            netlink.add_route(Some(*block), *via, LISTED_TABLE)?;
        }
    }
    Ok(())
}

fn uplink(lab: &Lab, node: &Node) -> anyhow::Result<()> {
    let netlink = Netlink::open()?;
    netlink.set_up("eth0")?;
    for address in &node.addresses {
        netlink.add_underlay_address("eth0", *address)?;
    }
    lab.outside.underlay.iter().try_for_each(|gateway| netlink.add_route(None, *gateway, MAIN_TABLE))
}
