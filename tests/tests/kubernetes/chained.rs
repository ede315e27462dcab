//! Host ports and rate limits of pods, by the plugins of others that stand behind naru's.

use std::fs;

use anyhow::ensure;
use naru_e2e::{
    kubernetes::{AGNHOST, Cluster},
    tool,
};

use super::{NO_SANDBOX, PATIENCE, cluster, explained, is_clean, shape};

/// A pod of node1 that serves its name, with a port of the host and rate limits of 8 Mbit/s.
fn pod(name: &str, port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  annotations:\n    \
         kubernetes.io/ingress-bandwidth: 8M\n    kubernetes.io/egress-bandwidth: 8M\nspec:\n  nodeName: node1\n  \
         terminationGracePeriodSeconds: 0\n  containers:\n  - name: main\n    image: \"{AGNHOST}\"\n    \
         args: [netexec]\n    ports: [{{containerPort: 8080, hostPort: {port}}}]\n"
    )
}

#[test]
#[ignore = "needs a Kubernetes: cargo xtask test --kubernetes"]
fn host_ports_and_rate_limits_work_where_their_plugins_are_and_are_refused_aloud_where_not() {
    let cluster = cluster(shape());
    explained(&cluster, || {
        cluster.apply(&pod("mapped", 8090))?;
        cluster.kubectl(&["wait", "--for=condition=Ready", "pod/mapped", "--timeout=240s"])?;
        for asker in ["a1", "b1"] {
            let ask = ["exec", asker, "--", "curl", "-s", "-m", "10", "http://192.168.77.11:8090/hostname"];
            ensure!(cluster.kubectl(&ask)? == "mapped", "{asker} asked node1's port");
        }
        let mut outside = cluster.beside_the_control_plane("/usr/bin/curl");
        outside.args(["-s", "-m", "10", "http://192.168.77.11:8090/hostname"]);
        ensure!(tool::text(outside.output()?)? == "mapped", "the control plane asked node1's port");
        is_limited(&cluster)?;
        without_plugins(&cluster)?;
        is_clean(&cluster)
    });
}

/// The plugin's qdiscs are there, and requests pass in both directions between pods of one node and of two. That rates
/// hold is shown where streams are measured: `both_rate_limits_hold_across_nodes_in_both_families`.
fn is_limited(cluster: &Cluster) -> anyhow::Result<()> {
    let qdiscs = cluster.nodes()[0].run("tc", &["qdisc", "show"])?;
    ensure!(qdiscs.matches("qdisc tbf").count() >= 2, "{qdiscs}");
    let address = &super::addresses(cluster, "mapped")?[0];
    for peer in ["a1", "b1"] {
        let peer_address = &super::addresses(cluster, peer)?[0];
        for (from, to, towards) in [(peer, address, "to"), ("mapped", peer_address, "from")] {
            let url = format!("http://{to}:8080/echo?msg=x");
            cluster.kubectl(&["exec", from, "--", "curl", "-s", "-m", "10", &url])?;
            println!("{towards} the limited pod: {from} asks {to}");
        }
    }
    Ok(())
}

/// Without the plugins such a pod does not start, and its event says why; with them it starts by itself.
fn without_plugins(cluster: &Cluster) -> anyhow::Result<()> {
    let node = &cluster.nodes()[0];
    cluster.kubectl(&["delete", "pod", "mapped", "--wait"])?;
    let hidden = ["portmap", "bandwidth"].map(|name| node.file(&format!("/opt/cni/bin/{name}")));
    for file in &hidden {
        fs::rename(file, file.with_extension("hidden"))?;
    }
    let list = node.file("/etc/cni/net.d/05-naru.conflist");
    let is_alone = || fs::read_to_string(&list).is_ok_and(|text| text.contains("unserved"));
    ensure!(tool::holds_within(PATIENCE, is_alone), "the list still has plugins that are not there");
    cluster.apply(&pod("mapped", 8090))?;
    let events = ["get", "events", "--field-selector", NO_SANDBOX, "-o", "jsonpath={.items[*].message}"];
    let says = |text: &str| text.contains("the pod asks for host port 8090, which the plugin portmap makes");
    cluster.wait(&events, PATIENCE, says)?;
    for file in &hidden {
        fs::rename(file.with_extension("hidden"), file)?;
    }
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/mapped", "--timeout=240s"]).map(drop)
}
