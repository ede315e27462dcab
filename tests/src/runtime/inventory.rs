//! A node's state of pods from three sources, which must agree.

use std::{collections::BTreeSet, net::IpAddr};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::{lab::Node, tool};

/// The pods' addresses and interfaces on one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inventory {
    /// Addresses that naru has assigned, each to one pod.
    pub assigned: BTreeSet<IpAddr>,
    /// Addresses that the datapath delivers to pods.
    pub delivered: BTreeSet<IpAddr>,
    /// Host ends of pods' veths.
    pub veths: BTreeSet<String>,
    /// Addresses with a kernel route to one of them.
    pub routed: BTreeSet<IpAddr>,
}

impl Inventory {
    /// Reads the state of `node`.
    ///
    /// # Errors
    /// Something cannot be read, or an address occurs twice.
    pub fn of(node: &Node) -> anyhow::Result<Self> {
        let leases = node.naru_json("ipam list")?;
        let assigned = leases.as_array().into_iter().flatten().filter(|line| line["status"] == "ASSIGNED");
        let endpoints = node.naru_json("endpoints")?;
        let links = ip(node, "link show type veth")?;
        let names = links.iter().filter_map(|link| link["ifname"].as_str()).map(str::to_owned);
        let mut routed = Vec::new();
        for family in ["-4", "-6"] {
            let routes = ip(node, &format!("{family} route show table main"))?;
            let to_pods = routes.iter().filter(|route| dev(route).is_some_and(is_ours) && !is_spare(route));
            routed.extend(to_pods.filter_map(|route| address(&route["dst"])));
        }
        Ok(Self {
            assigned: once_each("naru ipam list", assigned.filter_map(|line| address(&line["first"])))?,
            delivered: once_each(
                "naru endpoints",
                endpoints.as_array().into_iter().flatten().filter_map(|line| address(&line["address"])),
            )?,
            veths: names.filter(|name| is_ours(name)).collect(),
            routed: once_each("kernel routes", routed.into_iter())?,
        })
    }

    /// Checks that the state is exactly that of `pods`, given by their addresses.
    ///
    /// # Errors
    /// It is not; the error has the state.
    pub fn must_be_of<'a>(&self, pods: impl IntoIterator<Item = &'a [IpAddr]>) -> anyhow::Result<()> {
        let pods: Vec<_> = pods.into_iter().collect();
        let wanted = once_each("pods", pods.iter().flat_map(|addresses| addresses.iter().copied()))?;
        ensure!(self.assigned == wanted, "assigned is {:?}, pods have {wanted:?}", self.assigned);
        ensure!(self.delivered == wanted, "delivered is {:?}, pods have {wanted:?}", self.delivered);
        ensure!(self.routed == wanted, "routed is {:?}, pods have {wanted:?}", self.routed);
        ensure!(self.veths.len() == pods.len(), "{} pods, veths {:?}", pods.len(), self.veths);
        Ok(())
    }
}

/// Returns true if an interface's name is that of a pod's host end: `naru` and 11 hexadecimal digits.
fn is_ours(name: &str) -> bool {
    name.strip_prefix("naru")
        .is_some_and(|rest| rest.len() == 11 && rest.chars().all(|digit| digit.is_ascii_hexdigit()))
}

/// Returns true for the route that stands in when the kernel takes the first away with its source address.
fn is_spare(route: &Value) -> bool {
    route["metric"].as_u64() == Some(1 << 29)
}

fn dev(route: &Value) -> Option<&str> {
    route["dev"].as_str()
}

fn address(value: &Value) -> Option<IpAddr> {
    value.as_str()?.parse().ok()
}

fn ip(node: &Node, line: &str) -> anyhow::Result<Vec<Value>> {
    let text = tool::run(&node.open()?, &format!("ip -j {line}"))?;
    // `ip` prints nothing at all if there is no route.
    let text = if text.trim().is_empty() { "[]" } else { &text };
    serde_json::from_str(text).with_context(|| format!("node {}: ip -j {line}: {text}", node.name))
}

fn once_each(what: &str, addresses: impl Iterator<Item = IpAddr>) -> anyhow::Result<BTreeSet<IpAddr>> {
    let mut seen = BTreeSet::new();
    for address in addresses {
        ensure!(seen.insert(address), "{what}: {address} is there twice");
    }
    Ok(seen)
}
