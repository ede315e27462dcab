//! A real Kubernetes cluster on this machine: a control plane and nodes, each in namespaces of its own, with etcd,
//! kube-apiserver, controllers, scheduler, containerd, kubelet and kube-proxy, without any network for pods.
//!
//! Everything ends with [`Cluster`], and what a killed one left is removed by the next.

mod addons;
mod cgroup;
pub mod flannel;
mod images;
mod network;
mod node;
pub mod reference;
pub mod suite;
pub mod talk;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use naru_controlplane::{ControlPlane, Options, Process};

pub use self::{
    images::{AGNHOST, Image, agnhost},
    node::Node,
};
use self::{network::Network, node::Place};

/// The shape of a cluster.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Name of the cluster: at most eight letters and digits, which names of namespaces begin with.
    pub name: String,
    /// Nodes, nine at most.
    pub nodes: u8,
    /// The directory of everything that is written; it must lie outside /etc, /opt, /run, /var/lib and /var/log.
    pub directory: PathBuf,
    /// The ranges of pods, one or two with a comma, of which every node gets a part.
    pub pods: String,
    /// The ranges of Services.
    pub services: String,
    /// `iptables` or `nftables`.
    pub proxy: String,
    /// Plugins of others that are on every node from the beginning, as distributions have them.
    pub plugins: Vec<String>,
    /// More arguments of the API server.
    pub server: Vec<String>,
    /// Archives of images for every node, beside those that the cluster itself needs.
    pub images: Vec<PathBuf>,
}

impl Shape {
    /// Two nodes of both families.
    #[must_use]
    pub fn new(name: &str, directory: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            nodes: 2,
            directory,
            pods: "10.32.0.0/16,fd10:32::/56".to_owned(),
            services: "10.96.0.0/16,fd10:96::/112".to_owned(),
            proxy: "nftables".to_owned(),
            plugins: ["portmap", "bandwidth"].map(str::to_owned).into(),
            server: Vec::new(),
            images: Vec::new(),
        }
    }
}

/// A cluster at work. Its parts end in this order.
pub struct Cluster {
    nodes: Vec<Node>,
    controllers: Vec<Process>,
    plane: ControlPlane,
    network: Network,
    shape: Shape,
}

impl Cluster {
    /// Starts a cluster; its nodes are not ready, as they have no network for pods.
    ///
    /// # Errors
    /// A program is missing, or does not start.
    pub fn start(shape: Shape) -> anyhow::Result<Self> {
        node::remove_leftovers(&shape)?;
        let network = Network::new(&shape.name, shape.nodes)?;
        let options = Options {
            netns: Some(network.control_plane()),
            address: network::GATEWAY.into(),
            port: 6443,
            services: shape.services.clone(),
            // Pods know the server by the address of its Service.
            names: [vec!["kubernetes.default".to_owned()], addons::api_addresses(&shape.services)?].concat(),
            arguments: [
                vec!["--kubelet-preferred-address-types=InternalIP".to_owned()],
                shape.server.clone(),
            ]
            .concat(),
        };
        let plane = ControlPlane::start(options)?;
        let mut cluster = Self { nodes: Vec::new(), controllers: Vec::new(), plane, network, shape };
        cluster.start_controllers()?;
        cluster.start_nodes()?;
        Ok(cluster)
    }

    /// The control plane.
    #[must_use]
    pub const fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The directory of everything that is written.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.shape.directory
    }

    /// The ranges of pods.
    #[must_use]
    pub fn pod_ranges(&self) -> &str {
        &self.shape.pods
    }

    /// The address of a node.
    #[must_use]
    pub fn address_of(&self, number: u8, is_v6: bool) -> String {
        network::address(number, is_v6)
    }

    /// A program of Kubernetes on the machine of the control plane, from where every node is reached.
    #[must_use]
    pub fn beside_the_control_plane(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.network.control_plane().display()));
        command.arg(self.plane.programs().path(program));
        command
    }

    /// Runs `kubectl` and returns what it prints.
    ///
    /// # Errors
    /// It fails: what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.plane.run(arguments, "")
    }

    /// Applies a manifest.
    ///
    /// # Errors
    /// The API server refuses it.
    pub fn apply(&self, manifest: &str) -> anyhow::Result<String> {
        self.plane.run(&["apply", "-f", "-"], manifest)
    }

    /// Starts the cluster's name server.
    ///
    /// # Errors
    /// The API server refuses it.
    pub fn start_name_server(&self) -> anyhow::Result<()> {
        self.apply(&addons::name_server(&self.shape.services)?).map(drop)
    }

    /// Waits until `kubectl ARGUMENTS` prints what `is_it` accepts.
    ///
    /// # Errors
    /// It does not within `limit`: what was printed last.
    pub fn wait(
        &self,
        arguments: &[&str],
        limit: Duration,
        is_it: impl Fn(&str) -> bool,
    ) -> anyhow::Result<Duration> {
        let since = Instant::now();
        loop {
            let said = self.kubectl(arguments);
            match &said {
                Ok(text) if is_it(text) => return Ok(since.elapsed()),
                _ if since.elapsed() > limit => bail!("kubectl {}: {said:?}", arguments.join(" ")),
                _ => thread::sleep(Duration::from_millis(200)),
            }
        }
    }

    /// Waits until every node is ready, and leads the control plane's packets to their pods.
    ///
    /// # Errors
    /// One is not within `limit`.
    pub fn wait_for_nodes(&self, limit: Duration) -> anyhow::Result<Duration> {
        let status = "jsonpath={range .items[*]}{.status.conditions[?(@.type=='Ready')].status} {end}";
        let all = usize::from(self.shape.nodes);
        let is_ready = |text: &str| text.split_whitespace().filter(|word| *word == "True").count() == all;
        let took = self.wait(&["get", "nodes", "-o", status], limit, is_ready)?;
        for (number, node) in (1..).zip(&self.nodes) {
            let ranges = "jsonpath={.spec.podCIDRs[*]}";
            let ranges = self.kubectl(&["get", "node", node.name(), "-o", ranges])?;
            ranges.split_whitespace().try_for_each(|range| self.network.lead(range, number))?;
        }
        Ok(took)
    }

    /// Prints what helps to find out why something failed, as far as it can be had.
    pub fn explain(&self) {
        let agents = "app.kubernetes.io/name=naru";
        for arguments in [
            &["get", "nodes,pods", "-A", "-o", "wide"][..],
            &["get", "events", "-A", "--field-selector", "type=Warning"],
            &["logs", "-n", "kube-system", "-l", agents, "--all-containers", "--prefix", "--tail=50"],
        ] {
            match self.kubectl(arguments) {
                Ok(said) => eprintln!("{said}"),
                Err(error) => eprintln!("{error:#}"),
            }
        }
    }

    /// Takes a node down as a power cut does, with everything that is in memory, and starts it again.
    ///
    /// # Errors
    /// There is no such node, or it does not come up.
    pub fn reboot(&mut self, name: &str) -> anyhow::Result<()> {
        let at = self.nodes.iter().position(|node| node.name() == name).context(name.to_owned())?;
        let number = u8::try_from(at + 1)?;
        drop(self.nodes.remove(at));
        self.network.renew(number)?;
        let mut node = Node::start(Place::new(&self.shape, number), &self.plane, &self.shape)?;
        node.join(&self.plane, &self.shape)?;
        self.nodes.insert(at, node);
        Ok(())
    }

    /// Changes a word of the runtime's configuration on a node, and starts the runtime again.
    ///
    /// # Errors
    /// There is no such node, or the runtime does not answer.
    pub fn change_runtime(&mut self, name: &str, word: &str, other: &str) -> anyhow::Result<()> {
        let node = self.nodes.iter_mut().find(|node| node.name() == name).context(name.to_owned())?;
        let file = node.file("/etc/containerd/config.toml");
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        write(&file, &text.replace(word, other))?;
        node.start_runtime()
    }

    /// Starts the kubelet of a node again.
    ///
    /// # Errors
    /// There is no such node, or it cannot be started.
    pub fn restart_kubelet(&mut self, name: &str) -> anyhow::Result<()> {
        let node = self.nodes.iter_mut().find(|node| node.name() == name).context(name.to_owned())?;
        node.start_kubelet(&self.plane)
    }

    fn start_controllers(&mut self) -> anyhow::Result<()> {
        let file = |name: &str| self.plane.path(name).display().to_string();
        let client = |component: &str| -> anyhow::Result<String> {
            let name = format!("system:{component}");
            node::kubeconfig(&self.plane, component, &name, "").map(|path| path.display().to_string())
        };
        let manager = vec![
            format!("--kubeconfig={}", client("kube-controller-manager")?),
            format!("--service-account-private-key-file={}", file("accounts.key")),
            format!("--root-ca-file={}", file("ca.crt")),
            "--use-service-account-credentials".to_owned(),
            "--allocate-node-cidrs".to_owned(),
            format!("--cluster-cidr={}", self.shape.pods),
            format!("--service-cluster-ip-range={}", self.shape.services),
            "--leader-elect=false".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
        ];
        let scheduler = vec![
            format!("--kubeconfig={}", client("kube-scheduler")?),
            "--leader-elect=false".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
        ];
        for (name, arguments) in [("kube-controller-manager", manager), ("kube-scheduler", scheduler)] {
            let netns = self.network.control_plane();
            let (program, log) = (self.plane.programs().path(name), self.plane.path(&format!("{name}.log")));
            self.controllers.push(Process::start(Some(&netns), &program, &arguments, log)?);
        }
        Ok(())
    }

    fn start_nodes(&mut self) -> anyhow::Result<()> {
        let archives = images::write(&self.shape.directory, self.plane.programs())?;
        for number in 1..=self.shape.nodes {
            let place = Place::new(&self.shape, number);
            let node =
                Node::start(place, &self.plane, &self.shape).with_context(|| format!("node{number}"))?;
            for archive in archives.iter().chain(&self.shape.images) {
                node.import(archive)?;
            }
            self.nodes.push(node);
        }
        self.nodes.iter_mut().try_for_each(|node| node.join(&self.plane, &self.shape))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Containers would go on, and no runtime would know them.
        self.nodes.clear();
        self.controllers.clear();
        let _ = fs::remove_dir_all(&self.shape.directory);
    }
}

/// Writes a file, with the name in the error.
fn write(path: &Path, content: &str) -> anyhow::Result<()> {
    fs::write(path, content).with_context(|| path.display().to_string())
}
