//! A lab whose nodes run kube-proxy's rules.

use std::net::{IpAddr, SocketAddr};

use naru_e2e::{
    lab::{Lab, Node},
    probe::Host,
};
use naru_sandbox::kube_proxy::{KubeProxy, Proxy, Service};

/// The port on which pods and nodes listen.
pub const TARGET: u16 = 8080;
pub const NODE_PORT: u16 = 30_080;

/// The mode in which packets go from node to node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// In the tunnel, encapsulated by its device.
    Device,
    /// In the tunnel, encapsulated by the programs.
    Programs,
    /// By the underlay's routing.
    Direct,
}

impl Way {
    pub const ALL: [Self; 3] = [Self::Device, Self::Programs, Self::Direct];

    fn options(self) -> &'static str {
        match self {
            Self::Device => "--routing tunnel --encapsulation device",
            Self::Programs => "--routing tunnel --encapsulation auto",
            Self::Direct => "--routing direct --encapsulation auto",
        }
    }
}

pub struct World {
    pub lab: Lab,
    pub proxy: Proxy,
}

impl World {
    pub fn up(way: Way, proxy: Proxy) -> Self {
        Self::with(way, proxy, "")
    }

    /// Nobody but the plugin works on the nodes.
    pub fn without_agents(way: Way, proxy: Proxy) -> Self {
        Self::with(way, proxy, "--no-agent")
    }

    fn with(way: Way, proxy: Proxy, more: &str) -> Self {
        let lab = Lab::up(&format!("--families dual --underlay dual {} {more}", way.options())).unwrap();
        Self { lab, proxy }
    }

    pub fn host(&self, name: &str, v6: bool) -> Host {
        self.lab.must_host(name, v6).unwrap()
    }

    /// Makes every node serve these and no other of the family.
    pub fn serve(&self, v6: bool, services: &[Service]) {
        for node in &self.lab.nodes {
            let kube_proxy = KubeProxy {
                proxy: self.proxy,
                netns: node.netns.clone(),
                addresses: node.addresses.iter().copied().filter(|ip| ip.is_ipv6() == v6).collect(),
                pods: if v6 { "fd10:32::/48" } else { "10.32.0.0/12" }.parse().unwrap(),
            };
            kube_proxy.serve(services).unwrap();
        }
    }

    /// One Service by TCP and UDP, in front of these pods or nodes.
    pub fn in_front_of(&self, v6: bool, servers: &[&str]) {
        let addresses: Vec<IpAddr> = servers.iter().map(|name| self.host(name, v6).address).collect();
        self.in_front_of_addresses(v6, &addresses);
    }

    pub fn in_front_of_addresses(&self, v6: bool, servers: &[IpAddr]) {
        let endpoints: Vec<SocketAddr> = servers.iter().map(|ip| SocketAddr::new(*ip, TARGET)).collect();
        let of = |name, protocol| Service {
            name: String::from(name),
            protocol,
            at: service(v6),
            node_port: Some(NODE_PORT),
            endpoints: endpoints.clone(),
        };
        self.serve(v6, &[of("WEB", "tcp"), of("DNS", "udp")]);
    }

    /// The records and counters of the nodes, for the message of a failure.
    pub fn describe(&self) -> String {
        let of = |node: &Node, line| node.naru(line).unwrap_or_else(|error| format!("{error:#}"));
        let nodes = self.lab.nodes.iter();
        nodes.map(|node| format!("{}\n{}\n{}", node.name, of(node, "flows"), of(node, "stats"))).collect()
    }
}

/// The address of the Service.
pub fn service(v6: bool) -> SocketAddr {
    let ip: IpAddr = if v6 { "fd00:96::80" } else { "10.96.0.80" }.parse().unwrap();
    SocketAddr::new(ip, 80)
}
