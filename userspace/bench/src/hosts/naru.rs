use std::{fs, net::IpAddr, path::PathBuf, process::Command};

use anyhow::{Context, bail};
use naru_sandbox::{
    netns, node,
    plugin::{self, Attachment, Plugin},
};

use super::{
    Pair, ip,
    policy::{CLIENT, Judged, Policies, SERVER},
    rules,
    service::{self, Services},
    underlay::{self, Node},
};
use crate::{binaries::Binaries, site::Site};

/// The path of packets to the pods of the other node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Path {
    /// Through the vxlan device.
    Device,
    /// In the tunnel, by the programs on the uplink.
    Own,
    /// Without a tunnel.
    Direct,
}

/// Two nodes with naru.
#[derive(Clone, Copy, Debug)]
pub struct Naru<'a> {
    /// Unique in the bench.
    pub name: &'a str,
    /// Between the nodes.
    pub path: Path,
    /// With the rules of kube-proxy.
    pub rules: bool,
    /// With Services at the client's node, through which the pods are reached.
    pub services: Option<Services>,
    /// With policies that isolate all of the pods.
    pub policies: Option<Policies>,
}

/// A pod.
struct Pod {
    netns: String,
    address: IpAddr,
    v6: Option<IpAddr>,
}

/// The pairs of pods on naru's nodes.
#[derive(Clone, Debug)]
pub struct Pairs {
    /// Two pods of one node.
    pub same_node: Pair,
    /// A pod of each node.
    pub cross_node: Pair,
    /// Namespaces of the nodes.
    pub nodes: Vec<String>,
}

impl Naru<'_> {
    /// Makes the nodes as an administrator does, and three pods by CNI.
    ///
    /// # Errors
    /// The kernel or a binary refuses.
    pub fn build(&self, site: &Site, binaries: &Binaries) -> anyhow::Result<Pairs> {
        let nodes = underlay::two(site, self.name)?;
        for node in &nodes {
            self.init(site, binaries, node).with_context(|| format!("node {}", node.name))?;
            if self.rules {
                rules::load(&node.netns)?;
            }
        }
        let pods = [(&nodes[0], "a"), (&nodes[0], "b"), (&nodes[1], "c")]
            .map(|(node, name)| self.pod(site, binaries, node, name).with_context(|| format!("pod {name}")));
        let [client, near, far] = pods;
        let (client, near, far) = (client?, near?, far?);
        self.isolate(site, binaries, &nodes, [&client, &near, &far]).context("policies")?;
        let client = client.netns;
        if let Some(services) = self.services {
            services.serve(site, binaries, &nodes[0], &[near.address, far.address]).context("Services")?;
        }
        let pair = |number: usize, server: Pod| {
            let Pod { netns, address, v6 } = server;
            let service = self.services.map(|_| service::cluster_ip(number));
            Pair { client: client.clone(), server: netns, address, v6, service }
        };
        let (same_node, cross_node) = (pair(0, near), pair(1, far));
        Ok(Pairs { same_node, cross_node, nodes: nodes.map(|node| node.netns).to_vec() })
    }

    /// Puts the policies into force, if there are any.
    fn isolate(
        &self,
        site: &Site,
        binaries: &Binaries,
        nodes: &[Node; 2],
        [client, near, far]: [&Pod; 3],
    ) -> anyhow::Result<()> {
        let Some(policies) = self.policies else { return Ok(()) };
        let judged = |pod: &Pod, name, app, node: &Node| Judged {
            name,
            app,
            node: node.name.clone(),
            addresses: [Some(pod.address), pod.v6].into_iter().flatten().collect(),
        };
        let pods = [
            judged(client, "a", CLIENT, &nodes[0]),
            judged(near, "b", SERVER, &nodes[0]),
            judged(far, "c", SERVER, &nodes[1]),
        ];
        nodes.iter().try_for_each(|node| policies.enforce(site, binaries, node, &pods))
    }

    fn init(&self, site: &Site, binaries: &Binaries, node: &Node) -> anyhow::Result<()> {
        let root = site.directory(&node.name);
        let paths = node::paths(&root);
        for directory in [&paths.run, &paths.state, &paths.config, &paths.cni_conf, &paths.cni_bin] {
            fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        }
        fs::write(paths.cluster_file(), self.cluster()).context("write cluster.toml")?;
        plugin::install(&binaries.plugin, &paths.cni_bin)?;
        let mut command = Command::new(&binaries.naru);
        command.envs(environment(node, &root)).arg("init");
        let output = netns::inside(&node.netns, || command.output().context("run naru init"))?;
        if !output.status.success() {
            bail!("naru init: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// The cluster file. Pods have IPv6 where they are measured with it. Without a tunnel it takes nodes with such
    /// addresses; tunnels are over IPv4.
    fn cluster(&self) -> String {
        let (routing, encapsulation, dual) = match self.path {
            Path::Device => ("tunnel", "device", false),
            Path::Own => ("tunnel", "auto", true),
            Path::Direct => ("direct", "auto", true),
        };
        let both =
            |v4: String, v6: String| if dual { format!("\"{v4}\", \"{v6}\"") } else { format!("\"{v4}\"") };
        let node = |number: usize| {
            let name = format!("{}-n{number}", self.name);
            let addresses = match self.path {
                Path::Direct => both(underlay::address(number), underlay::address_v6(number)),
                Path::Device | Path::Own => format!("\"{}\"", underlay::address(number)),
            };
            let blocks = both(format!("10.32.{number}.0/24"), format!("fd10:32::{number}:0/112"));
            format!("\n[[node]]\nname = \"{name}\"\naddresses = [{addresses}]\nblocks = [{blocks}]\n")
        };
        let ranges = both("10.32.0.0/12".to_owned(), "fd10:32::/48".to_owned());
        format!(
            "{}ranges = [{ranges}]\nrouting = \"{routing}\"\nencapsulation = \"{encapsulation}\"\n{}{}",
            self.services.map(Services::setting).unwrap_or_default()
                + &self.policies.map(Policies::setting).unwrap_or_default(),
            node(1),
            node(2)
        )
    }

    fn pod(&self, site: &Site, binaries: &Binaries, node: &Node, name: &str) -> anyhow::Result<Pod> {
        let root = site.directory(&node.name);
        let paths = node::paths(&root);
        let plugin = Plugin {
            binary: binaries.plugin.clone(),
            environment: environment(node, &root),
            configuration: plugin::configuration(&paths.cni_conf)?,
            path: paths.cni_bin,
        };
        let netns = site.netns(&format!("{}-{name}", self.name));
        netns::create(&netns, || Ok(()))?;
        ip(&netns, "link set lo up")?;
        let attachment = Attachment { container: &netns, netns: &netns, pod: name };
        let reply = netns::inside(&node.netns, || plugin.call("ADD", attachment))?;
        let addresses = reply.addresses().context("no address in the result")?;
        let v6 = addresses.iter().copied().find(IpAddr::is_ipv6);
        Ok(Pod { netns, address: addresses[0], v6 })
    }
}

fn environment(node: &Node, root: &std::path::Path) -> Vec<(&'static str, PathBuf)> {
    node::environment(&node.name, root)
}
