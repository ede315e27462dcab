//! The machines' network: one link, on which the control plane is the router.

use std::{net::Ipv4Addr, path::PathBuf};

use anyhow::Context;

use crate::{netns::Netns, tool};

/// The address of the control plane.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);

/// The namespaces and what joins them; removed with this.
pub struct Network {
    name: String,
    nodes: u8,
}

impl Network {
    /// Makes the namespaces of the control plane and of so many nodes, which have 192.168.77.11, .12 and so on, and
    /// fd77::11, ::12.
    ///
    /// # Errors
    /// One cannot be made.
    pub fn new(name: &str, nodes: u8) -> anyhow::Result<Self> {
        let network = Self { name: name.to_owned(), nodes };
        network.remove();
        for namespace in network.names() {
            let made = std::process::Command::new("ip").args(["netns", "add", &namespace]).output();
            tool::text(made.context("run ip")?).with_context(|| format!("namespace {namespace}"))?;
        }
        network.join()?;
        Ok(network)
    }

    /// The path of the control plane's namespace.
    pub fn control_plane(&self) -> PathBuf {
        path(&format!("{}-cp", self.name))
    }

    fn names(&self) -> Vec<String> {
        let nodes = (1..=self.nodes).map(|number| node(&self.name, number));
        std::iter::once(format!("{}-cp", self.name)).chain(nodes).collect()
    }

    fn join(&self) -> anyhow::Result<()> {
        let plane = Netns::open(&format!("{}-cp", self.name))?;
        for line in [
            "ip link set lo up",
            "ip link add br0 type bridge mcast_snooping 0",
            "ip address add 192.168.77.1/24 dev br0",
            "ip address add fd77::1/64 dev br0 nodad",
            "ip link set br0 up",
            "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
        ] {
            tool::run(&plane, line)?;
        }
        (1..=self.nodes).try_for_each(|number| self.plug(&plane, number))
    }

    fn plug(&self, plane: &Netns, number: u8) -> anyhow::Result<()> {
        let name = node(&self.name, number);
        let netns = Netns::open(&name)?;
        tool::run(plane, &format!("ip link add n{number} type veth peer name eth0 netns {name}"))?;
        tool::run(plane, &format!("ip link set n{number} master br0 up"))?;
        for line in [
            "ip link set lo up".to_owned(),
            format!("ip address add 192.168.77.1{number}/24 dev eth0"),
            format!("ip address add fd77::1{number}/64 dev eth0 nodad"),
            "ip link set eth0 up".to_owned(),
            format!("ip route add default via {GATEWAY}"),
            "ip route add default via fd77::1".to_owned(),
        ] {
            tool::run(&netns, &line)?;
        }
        Ok(())
    }

    /// Makes the namespace of a node anew, as a machine's network is after a reboot.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn renew(&self, number: u8) -> anyhow::Result<()> {
        let name = node(&self.name, number);
        let plane = Netns::open(&format!("{}-cp", self.name))?;
        // The namespace itself goes when nobody is in it any more, and its end of the link with it.
        tool::run(&plane, &format!("ip link delete n{number}"))?;
        for verb in ["delete", "add"] {
            let done = std::process::Command::new("ip").args(["netns", verb, &name]).output();
            tool::text(done.context("run ip")?).with_context(|| format!("namespace {name}"))?;
        }
        self.plug(&plane, number)
    }

    /// Leads the control plane's packets for a node's pods to that node, as the routes of a cloud do: the API server
    /// asks pods for those who ask it.
    ///
    /// # Errors
    /// A range is none, or has a route already.
    pub fn lead(&self, range: &str, number: u8) -> anyhow::Result<()> {
        let plane = Netns::open(&format!("{}-cp", self.name))?;
        let hop = address(number, range.contains(':'));
        tool::run(&plane, &format!("ip route replace {range} via {hop}")).map(drop)
    }

    fn remove(&self) {
        for name in self.names() {
            let _ = std::process::Command::new("ip").args(["netns", "delete", &name]).output();
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.remove();
    }
}

/// The name of a node's namespace.
pub fn node(cluster: &str, number: u8) -> String {
    format!("{cluster}-n{number}")
}

/// The address of a node.
pub fn address(number: u8, is_v6: bool) -> String {
    if is_v6 { format!("fd77::1{number}") } else { format!("192.168.77.1{number}") }
}

/// The path of a namespace.
pub fn path(name: &str) -> PathBuf {
    format!("/run/netns/{name}").into()
}
