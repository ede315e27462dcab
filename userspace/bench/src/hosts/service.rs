use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::Range,
    path::Path,
};

use anyhow::Context;
use naru_bpf::ServiceMaps;
use naru_sandbox::{
    kube_proxy::{KubeProxy, Proxy, Service},
    node,
};
use serde_json::json;

use super::{follow::follow, underlay::Node};
use crate::{binaries::Binaries, site::Site};

/// The ports of the Services that are measured. There are several, so that a client does not run out of ports of its
/// own, and a prime number of them, so that a lane meets all of them in turn.
pub const SERVICE_PORTS: Range<u16> = 8_000..8_007;
/// The file with the Services, in a directory of the node's settings.
const DIRECTORY: &str = "services";
/// Objects in a file.
const IN_A_FILE: usize = 2_000;
/// Endpoints of each Service that is not measured.
const ENDPOINTS: u32 = 3;

/// Whoever translates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Translator {
    /// naru's programs.
    Programs,
    /// The rules of kube-proxy in the stack.
    Stack(Proxy),
}

/// Services at the node of the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Services {
    /// Whoever translates them.
    pub by: Translator,
    /// Their number beside the measured ones.
    pub count: u32,
}

/// The ClusterIP of measured server number `number`.
pub fn cluster_ip(number: usize) -> IpAddr {
    let number = u8::try_from(number).unwrap_or(u8::MAX);
    Ipv4Addr::new(10, 96, 0, number).into()
}

impl Services {
    /// The line of the cluster file that makes naru read Services, if it shall.
    pub fn setting(self) -> String {
        match self.by {
            Translator::Programs => format!("service_files = \"{DIRECTORY}\"\n"),
            Translator::Stack(_) => String::new(),
        }
    }

    /// Makes the node serve them, with the first ones in front of `servers`.
    ///
    /// # Errors
    /// A tool refuses the rules, or the agent does not take the Services.
    pub fn serve(
        self,
        site: &Site,
        binaries: &Binaries,
        node: &Node,
        servers: &[IpAddr],
    ) -> anyhow::Result<()> {
        match self.by {
            Translator::Programs => self.by_programs(site, binaries, node, servers),
            Translator::Stack(proxy) => KubeProxy {
                proxy,
                netns: node.netns.clone(),
                addresses: Vec::new(),
                pods: "10.32.0.0/12".parse()?,
            }
            .serve(&self.ports(servers)),
        }
    }

    /// The other Services: address and endpoints.
    fn others(self) -> impl Iterator<Item = (Ipv4Addr, Vec<Ipv4Addr>)> {
        let nth = |base: [u8; 4], number: u32| Ipv4Addr::from(u32::from(Ipv4Addr::from(base)) + number);
        (0..self.count).map(move |number| {
            let endpoints = (0..ENDPOINTS).map(|one| nth([10, 34, 0, 0], number * ENDPOINTS + one));
            (nth([10, 97, 0, 0], number), endpoints.collect())
        })
    }

    /// All of them for kube-proxy, the measured ones in the middle: some of its rules are asked one after the other.
    fn ports(self, servers: &[IpAddr]) -> Vec<Service> {
        let measured = servers.iter().enumerate().flat_map(|(number, server)| {
            SERVICE_PORTS.flat_map(move |port| {
                ["tcp", "udp"].map(|protocol| Service {
                    name: format!("M{number}{}{port}", protocol.to_uppercase()),
                    protocol,
                    at: (cluster_ip(number), port).into(),
                    node_port: None,
                    endpoints: vec![(*server, port).into()],
                })
            })
        });
        let others = self.others().map(|(address, endpoints)| Service {
            name: format!("O{}", u32::from(address)),
            protocol: "tcp",
            at: SocketAddr::from((address, 80)),
            node_port: None,
            endpoints: endpoints.into_iter().map(|one| (one, 8080).into()).collect(),
        });
        let mut all: Vec<Service> = others.collect();
        let middle = all.len() / 2;
        all.splice(middle..middle, measured);
        all
    }

    fn by_programs(
        self,
        site: &Site,
        binaries: &Binaries,
        node: &Node,
        servers: &[IpAddr],
    ) -> anyhow::Result<()> {
        let paths = node::paths(&site.directory(&node.name));
        self.write(&paths.config.join(DIRECTORY), servers).context("write Services")?;
        let wanted = servers.len() * SERVICE_PORTS.len() * 2 + self.count as usize;
        let maps = ServiceMaps::open(&paths.pins())?;
        follow(site, binaries, node, || Ok(maps.services.entries()?.len() >= wanted))
    }

    /// Writes Services and EndpointSlices as Kubernetes has them.
    fn write(self, directory: &Path, servers: &[IpAddr]) -> anyhow::Result<()> {
        let measured = servers.iter().enumerate().map(|(number, server)| {
            let ports = SERVICE_PORTS.flat_map(|port| {
                ["TCP", "UDP"].map(|protocol| {
                    let name = format!("{}-{port}", protocol.to_lowercase());
                    json!({ "name": name, "protocol": protocol, "port": port })
                })
            });
            let ports: Vec<_> = ports.collect();
            object(
                &format!("measured-{number}"),
                cluster_ip(number),
                &json!(ports),
                &json!(ports),
                &[*server],
            )
        });
        let others = self.others().enumerate().map(|(number, (address, endpoints))| {
            let ports = |port: u16| json!([{ "protocol": "TCP", "port": port }]);
            let endpoints: Vec<IpAddr> = endpoints.into_iter().map(IpAddr::from).collect();
            object(&format!("other-{number}"), address.into(), &ports(80), &ports(8080), &endpoints)
        });
        let items: Vec<_> = measured.chain(others).flatten().collect();
        fs::create_dir_all(directory)?;
        for (number, items) in items.chunks(IN_A_FILE).enumerate() {
            let next = directory.join(".next");
            fs::write(&next, json!({ "kind": "List", "items": items }).to_string())?;
            fs::rename(next, directory.join(format!("{number}.json")))?;
        }
        Ok(())
    }
}

/// A Service and its slice.
fn object(
    name: &str,
    address: IpAddr,
    ports: &serde_json::Value,
    targets: &serde_json::Value,
    endpoints: &[IpAddr],
) -> [serde_json::Value; 2] {
    let endpoints: Vec<_> = endpoints.iter().map(|one| json!({ "addresses": [one] })).collect();
    [
        json!({
            "kind": "Service",
            "metadata": { "name": name },
            "spec": { "clusterIP": address, "clusterIPs": [address], "ports": ports },
        }),
        json!({
            "kind": "EndpointSlice",
            "metadata": { "name": name, "labels": { "kubernetes.io/service-name": name } },
            "addressType": "IPv4",
            "ports": targets,
            "endpoints": endpoints,
        }),
    ]
}
