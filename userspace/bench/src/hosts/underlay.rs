use naru_sandbox::netns;

use super::ip;
use crate::site::Site;

/// A node: a namespace with an uplink.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name, unique in the bench.
    pub name: String,
    /// Its namespace.
    pub netns: String,
}

/// The uplink of every node.
pub const UPLINK: &str = "eth0";

/// The address of node 1 or 2 on the network between them.
pub fn address(number: usize) -> String {
    format!("198.51.100.{number}")
}

/// The IPv6 addresses of the two nodes.
pub fn address_v6(number: usize) -> String {
    format!("2001:db8:100::{number}")
}

/// One node whose uplink leads nowhere.
pub fn one(site: &Site, name: &str) -> anyhow::Result<Node> {
    let node = create(site, name)?;
    ip(&node.netns, "link add eth0 type veth peer name far\nlink set far up")?;
    bring_up(&node, 1)?;
    Ok(node)
}

/// Two nodes joined by one veth pair.
pub fn two(site: &Site, name: &str) -> anyhow::Result<[Node; 2]> {
    let nodes = [create(site, &format!("{name}-n1"))?, create(site, &format!("{name}-n2"))?];
    let [first, second] = &nodes;
    ip(&first.netns, &format!("link add {UPLINK} type veth peer name {UPLINK} netns {}", second.netns))?;
    bring_up(first, 1)?;
    bring_up(second, 2)?;
    Ok(nodes)
}

fn create(site: &Site, name: &str) -> anyhow::Result<Node> {
    let node = Node { name: name.to_owned(), netns: site.netns(name) };
    netns::create(&node.netns, || {
        netns::set_sysctl("net/ipv4/ip_forward", "1")?;
        // Where br_netfilter is loaded, it is on in every new namespace; hosts that want it switch it on.
        netns::set_sysctl("net/bridge/bridge-nf-call-iptables", "0")?;
        netns::set_sysctl("net/bridge/bridge-nf-call-ip6tables", "0")
    })?;
    ip(&node.netns, "link set lo up")?;
    Ok(node)
}

fn bring_up(node: &Node, number: usize) -> anyhow::Result<()> {
    let (v4, v6) = (address(number), address_v6(number));
    let lines = format!(
        "link set {UPLINK} up\naddress add {v4}/24 dev {UPLINK}\naddress add {v6}/64 dev {UPLINK} nodad"
    );
    ip(&node.netns, &lines)
}
