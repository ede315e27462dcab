//! The network that naru is compared with: the reference plugins `bridge` and `host-local`, with routes between nodes.

use std::{fmt::Write as _, time::Duration};

use anyhow::Context;

use super::{Cluster, Node, write};
use crate::dist;

/// Time for a node to be registered and to get its range.
const PATIENCE: Duration = Duration::from_secs(120);
/// The network's name, which host-local names its directory after.
pub const NETWORK: &str = "reference";
/// The reference plugins that it is made of.
const PLUGINS: [&str; 2] = ["bridge", "host-local"];
/// The file by which the runtime knows it.
const CONFLIST: &str = "/etc/cni/net.d/10-reference.conflist";

/// Makes the nodes of these numbers ready by the reference plugins alone.
///
/// # Errors
/// A node has no range, or something cannot be put there.
pub fn install(cluster: &Cluster, numbers: &[u8]) -> anyhow::Result<()> {
    let nodes: Vec<&Node> =
        numbers.iter().filter_map(|number| cluster.nodes().get(usize::from(*number) - 1)).collect();
    let ranges: Vec<Vec<String>> =
        nodes.iter().map(|node| ranges(cluster, node.name())).collect::<anyhow::Result<_>>()?;
    for (at, node) in nodes.iter().enumerate() {
        let mut script = plugins(cluster)?;
        for (peer, range) in (0..nodes.len()).filter(|peer| *peer != at).flat_map(|peer| {
            let own = &ranges[peer];
            own.iter().map(move |range| (peer, range))
        }) {
            let hop = cluster.address_of(numbers[peer], range.contains(':'));
            writeln!(script, "ip route replace {range} via {hop}")?;
        }
        for range in &ranges[at] {
            script += &masquerade("-A", range, cluster.pod_ranges());
        }
        // The runtime takes the network when this file is there.
        writeln!(script, "mv /run/reference.conflist {CONFLIST}")?;
        write(&node.file("/run/reference.conflist"), &conflist(&ranges[at]))?;
        write(&node.file("/run/reference.sh"), &script)?;
        node.run("sh", &["-e", "/run/reference.sh"])?;
    }
    Ok(())
}

/// Takes the network away from the nodes of these numbers; their pods are gone.
///
/// # Errors
/// Something of it is not there.
pub fn remove(cluster: &Cluster, numbers: &[u8]) -> anyhow::Result<()> {
    let node = |number: u8| cluster.nodes().get(usize::from(number) - 1).context("no such node");
    for own in numbers {
        let mut script = format!("rm {CONFLIST}\nip link delete cni0\n");
        for peer in numbers.iter().filter(|peer| *peer != own) {
            for range in ranges(cluster, node(*peer)?.name())? {
                let hop = cluster.address_of(*peer, range.contains(':'));
                writeln!(script, "ip route delete {range} via {hop}")?;
            }
        }
        for range in ranges(cluster, node(*own)?.name())? {
            script += &masquerade("-D", &range, cluster.pod_ranges());
        }
        write(&node(*own)?.file("/run/reference.sh"), &script)?;
        node(*own)?.run("sh", &["-e", "/run/reference.sh"])?;
    }
    Ok(())
}

/// The ranges that the cluster gave the node.
fn ranges(cluster: &Cluster, node: &str) -> anyhow::Result<Vec<String>> {
    // The node may just be registering.
    let asked = ["get", "node", node, "-o", "jsonpath={.spec.podCIDRs[*]}"];
    cluster.wait(&asked, PATIENCE, |ranges| !ranges.trim().is_empty())?;
    Ok(cluster.kubectl(&asked)?.split_whitespace().map(str::to_owned).collect())
}

/// The commands that put the plugins where the runtime looks for them. `loopback` is naru's: it does the same.
pub fn plugins(cluster: &Cluster) -> anyhow::Result<String> {
    let loopback = dist::binary("loopback")?.canonicalize().context("loopback")?;
    let others = PLUGINS.iter().map(|plugin| cluster.plane().programs().path(plugin));
    let mut script = String::new();
    for plugin in others.chain([loopback]) {
        writeln!(script, "cp {} /opt/cni/bin/", plugin.display())?;
    }
    // Packets between pods of a bridge pass kube-proxy's rules only so.
    script += "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1\n\
               sysctl -qw net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1 || true\n";
    Ok(script)
}

fn masquerade(verb: &str, range: &str, pods: &str) -> String {
    let is_v6 = range.contains(':');
    let all = pods.split(',').find(|all| all.contains(':') == is_v6).unwrap_or(range);
    let tool = if is_v6 { "ip6tables" } else { "iptables" };
    format!("{tool} -t nat {verb} POSTROUTING -s {range} ! -d {all} -j MASQUERADE\n")
}

fn conflist(ranges: &[String]) -> String {
    let sets: Vec<_> = ranges.iter().map(|range| serde_json::json!([{ "subnet": range }])).collect();
    let defaults = ranges.iter().map(|range| if range.contains(':') { "::/0" } else { "0.0.0.0/0" });
    let routes: Vec<_> = defaults.map(|dst| serde_json::json!({ "dst": dst })).collect();
    let bridge = serde_json::json!({
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": true,
        "hairpinMode": true,
        "ipam": { "type": "host-local", "ranges": sets, "routes": routes },
    });
    let portmap = serde_json::json!({ "type": "portmap", "capabilities": { "portMappings": true } });
    serde_json::json!({ "cniVersion": "1.0.0", "name": NETWORK, "plugins": [bridge, portmap] }).to_string()
}
