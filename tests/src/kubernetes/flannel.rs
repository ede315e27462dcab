//! flannel as a network that clusters come from: its own daemon on every node, and what its plugin makes of it.

use std::{
    fs,
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};

use super::{Cluster, Node, reference, write};
use crate::tool;

/// Time for the daemon to know its node's range.
const PATIENCE: Duration = Duration::from_secs(120);
/// The network's name, which host-local names its directory after.
pub const NETWORK: &str = "cbr0";
/// The file by which the runtime knows it.
const CONFLIST: &str = "/etc/cni/net.d/10-flannel.conflist";
/// What the daemon writes for the plugin.
const SUBNETS: &str = "/run/flannel/subnet.env";

/// flannel at work on the nodes of a cluster. Its daemons end with this; what they made stays, as on a machine.
pub struct Flannel {
    daemons: Vec<Child>,
}

impl Flannel {
    /// Makes every node ready by flannel.
    ///
    /// # Errors
    /// A daemon does not learn its node's range.
    pub fn install(cluster: &Cluster) -> anyhow::Result<Self> {
        let plane = cluster.plane();
        let server = plane.servers().first().context("no API server")?.address();
        let kubeconfig = plane.kubeconfig("flannel.kubeconfig", server)?;
        let mut flannel = Self { daemons: Vec::new() };
        for node in cluster.nodes() {
            write(&node.file("/run/flannel.json"), &network(cluster.pod_ranges()))?;
            write(&node.file("/run/plugins.sh"), &reference::plugins(cluster)?)?;
            node.run("sh", &["-e", "/run/plugins.sh"])?;
            flannel.daemons.push(start(cluster, node, &kubeconfig)?);
        }
        for node in cluster.nodes() {
            let subnets = node.file(SUBNETS);
            let is_there = tool::holds_within(PATIENCE, || subnets.exists());
            let log = fs::read_to_string(node.file("/run/flannel.log")).unwrap_or_default();
            ensure!(is_there, "{}: flannel has no range: {log}", node.name());
            let subnets = fs::read_to_string(&subnets).with_context(|| subnets.display().to_string())?;
            write(&node.file("/run/flannel.conflist"), &conflist(&subnets))?;
            node.run("mv", &["/run/flannel.conflist", CONFLIST])?;
        }
        Ok(flannel)
    }

    /// Takes flannel away as its documentation says: the daemons, the list, and the devices that they leave.
    ///
    /// # Errors
    /// A device or file cannot be removed.
    pub fn remove(self, cluster: &Cluster) -> anyhow::Result<()> {
        drop(self);
        for node in cluster.nodes() {
            node.run("rm", &[CONFLIST])?;
            for device in ["flannel.1", "flannel-v6.1", "cni0"] {
                node.run("ip", &["link", "delete", device])?;
            }
        }
        Ok(())
    }
}

impl Drop for Flannel {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn start(cluster: &Cluster, node: &Node, kubeconfig: &Path) -> anyhow::Result<Child> {
    let log = node.file("/run/flannel.log");
    let log = fs::File::create(&log).with_context(|| log.display().to_string())?;
    let mut daemon = node.command(&cluster.plane().programs().path("flanneld"));
    daemon.args(["--kube-subnet-mgr", "--iface=eth0", "--ip-masq", "--net-config-path=/run/flannel.json"]);
    daemon.arg(format!("--kubeconfig-file={}", kubeconfig.display())).env("NODE_NAME", node.name());
    daemon.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn().context("flanneld")
}

/// The daemon's configuration.
fn network(pods: &str) -> String {
    let of = |is_v6: bool| pods.split(',').find(|range| range.contains(':') == is_v6);
    let mut network = serde_json::json!({ "Backend": { "Type": "vxlan" } });
    if let Some(range) = of(false) {
        network["Network"] = range.into();
    }
    if let Some(range) = of(true) {
        (network["EnableIPv6"], network["IPv6Network"]) = (true.into(), range.into());
    }
    network.to_string()
}

/// The list of flannel's plugin, which is no Go module that a proxy has: it calls `bridge` with host-local and what
/// the daemon wrote, and so does this list.
fn conflist(subnets: &str) -> String {
    let value = |key: &str| {
        let mut values = subnets.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        values.next().map(str::to_owned)
    };
    let ranges: Vec<String> =
        ["FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"].into_iter().filter_map(value).collect();
    let sets: Vec<_> = ranges.iter().map(|range| serde_json::json!([{ "subnet": prefix(range) }])).collect();
    let mtu = value("FLANNEL_MTU").and_then(|mtu| mtu.parse::<u32>().ok()).unwrap_or(1450);
    let bridge = serde_json::json!({
        "type": "bridge",
        "bridge": "cni0",
        "mtu": mtu,
        "isGateway": true,
        "isDefaultGateway": true,
        "hairpinMode": true,
        "ipMasq": false,
        "ipam": { "type": "host-local", "ranges": sets },
    });
    let portmap = serde_json::json!({ "type": "portmap", "capabilities": { "portMappings": true } });
    serde_json::json!({ "cniVersion": "1.0.0", "name": NETWORK, "plugins": [bridge, portmap] }).to_string()
}

/// The prefix of a range that is named by its first host, as the daemon has it.
fn prefix(range: &str) -> String {
    range.parse::<ipnet::IpNet>().map_or_else(|_| range.to_owned(), |range| range.trunc().to_string())
}
