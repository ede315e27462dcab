use std::{fs, net::IpAddr};

use anyhow::Context;
use naru_sandbox::{
    netns,
    plugin::{Attachment, Plugin},
};
use serde_json::{Value, json};

use super::{
    Pair, ip, rules,
    underlay::{self, Node, UPLINK},
};
use crate::{binaries::Binaries, site::Site};

/// The connection between the bridges of two nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// A vxlan device with static entries, as flannel's default back end makes it.
    Vxlan,
    /// Routes through the other node's address, as flannel's back end host-gw and many others.
    Gateway,
}

/// The reference bridge plugin with host-local on one node or two.
#[derive(Clone, Copy, Debug)]
pub struct Bridge<'a> {
    /// Unique in the bench.
    pub name: &'a str,
    /// Two nodes, or one if `None`.
    pub reach: Option<Reach>,
    /// With the rules of kube-proxy.
    pub rules: bool,
}

/// A pod pair and the namespaces of its nodes.
#[derive(Clone, Debug)]
pub struct Built {
    /// The pods.
    pub pair: Pair,
    /// One node or two.
    pub nodes: Vec<String>,
}

/// Bytes that vxlan over IPv4 takes from each packet.
const OVERHEAD: u32 = 50;

impl Bridge<'_> {
    /// Makes the nodes and a pod pair.
    ///
    /// # Errors
    /// The kernel or a plugin refuses.
    pub fn build(&self, site: &Site, binaries: &Binaries) -> anyhow::Result<Built> {
        let nodes = match self.reach {
            None => vec![underlay::one(site, self.name)?],
            Some(_) => underlay::two(site, self.name)?.to_vec(),
        };
        // The bridge's addresses come before the routes that lead through them.
        let last = nodes.len();
        let (client, _) = self.pod(site, binaries, &nodes[0], 1, "a")?;
        let (server, addresses) = self.pod(site, binaries, &nodes[last - 1], last, "b")?;
        if let Some(reach) = self.reach {
            for (node, number) in nodes.iter().zip(1..) {
                join(node, number, reach)?;
            }
        }
        if self.rules {
            nodes.iter().try_for_each(|node| rules::load(&node.netns))?;
        }
        let nodes = nodes.into_iter().map(|node| node.netns).collect();
        let v6 = addresses.iter().copied().find(IpAddr::is_ipv6);
        Ok(Built { pair: Pair { client, server, address: addresses[0], v6, service: None }, nodes })
    }

    fn mtu(&self) -> u32 {
        if self.reach == Some(Reach::Vxlan) { 1500 - OVERHEAD } else { 1500 }
    }

    /// A range set for each family; IPv6 where naru is measured with it too.
    fn ranges(&self, number: usize) -> Value {
        let set = |block: String| json!([{"subnet": block}]);
        match self.reach {
            Some(_) => json!([set(block(number)), set(block_v6(number))]),
            None => json!([set(block(number))]),
        }
    }

    fn pod(
        &self,
        site: &Site,
        binaries: &Binaries,
        node: &Node,
        number: usize,
        name: &str,
    ) -> anyhow::Result<(String, Vec<IpAddr>)> {
        let pod = site.netns(&format!("{}-{name}", self.name));
        let leases = site.directory(&node.name);
        fs::create_dir_all(&leases).with_context(|| leases.display().to_string())?;
        let plugin = Plugin {
            binary: binaries.reference.join("bridge"),
            path: binaries.reference.clone(),
            environment: Vec::new(),
            configuration: json!({
                "cniVersion": "1.0.0", "name": "bench", "type": "bridge", "bridge": "cni0", "mtu": self.mtu(),
                "isDefaultGateway": true, "hairpinMode": true,
                "ipam": {"type": "host-local", "ranges": self.ranges(number), "dataDir": leases},
            }),
        };
        netns::create(&pod, || Ok(()))?;
        ip(&pod, "link set lo up")?;
        let attachment = Attachment { container: &pod, netns: &pod, pod: name };
        let reply = netns::inside(&node.netns, || plugin.call("ADD", attachment))?;
        Ok((pod, reply.addresses().context("bridge: no address in its result")?))
    }
}

fn block(number: usize) -> String {
    format!("10.244.{number}.0/24")
}

fn block_v6(number: usize) -> String {
    format!("fd10:244:0:{number}::/64")
}

/// Routes to the other one of two nodes; each vxlan device has a MAC address made from its node's number.
fn join(node: &Node, number: usize, reach: Reach) -> anyhow::Result<()> {
    let other = 3 - number;
    let (theirs, theirs_v6, far) = (block(other), block_v6(other), underlay::address(other));
    let lines = match reach {
        Reach::Gateway => format!(
            "route add {theirs} via {far} dev {UPLINK}
route add {theirs_v6} via {far_v6} dev {UPLINK}",
            far_v6 = underlay::address_v6(other),
        ),
        Reach::Vxlan => format!(
            "link add flannel.1 address 02:00:00:00:00:0{number} type vxlan \
             id 1 local {own} dev {UPLINK} dstport 8472 nolearning
link set flannel.1 up
address add 10.244.{number}.0/32 dev flannel.1
neighbor add 10.244.{other}.0 lladdr 02:00:00:00:00:0{other} dev flannel.1 nud permanent
neighbor add fe80::{other} lladdr 02:00:00:00:00:0{other} dev flannel.1 nud permanent
route add {theirs} via 10.244.{other}.0 dev flannel.1 onlink
route add {theirs_v6} via fe80::{other} dev flannel.1",
            own = underlay::address(number),
        ),
    };
    ip(&node.netns, &lines)?;
    if reach == Reach::Vxlan {
        let entry = format!("02:00:00:00:00:0{other} dev flannel.1 dst {far} self permanent");
        super::tool::bridge(&node.netns, &format!("fdb add {entry}"))?;
    }
    Ok(())
}
