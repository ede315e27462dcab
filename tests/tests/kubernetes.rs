//! A real Kubernetes with naru from its manifest: two nodes with kubelet, containerd and kube-proxy.
//!
//! `cargo xtask test --kubernetes` runs these, one at a time; each makes a cluster of its own.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use naru_e2e::{
    dist,
    kubernetes::{AGNHOST, Cluster, Shape, suite, talk},
    tool,
};

/// Time for something to become so on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// A cluster whose nodes are ready by the manifest alone.
fn cluster(proxy: &str) -> Cluster {
    let directory = dist::binary("naru-image.tar").unwrap();
    let target = directory.parent().and_then(Path::parent).unwrap().canonicalize().unwrap();
    let shape = Shape {
        images: vec![target.join("dist/naru-image.tar")],
        proxy: proxy.to_owned(),
        ..Shape::new("narutest", target.join("kubernetes-test"))
    };
    let cluster = Cluster::start(shape).unwrap();
    cluster.apply(&fs::read_to_string(manifest()).unwrap()).unwrap();
    cluster.wait_for_nodes(PATIENCE).unwrap();
    cluster.start_name_server().unwrap();
    talk::start(&cluster).unwrap();
    cluster
}

fn manifest() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy/naru.yaml")
}

/// Runs `claim` with the cluster; what the cluster says of itself is printed if it fails.
fn explained(cluster: &Cluster, claim: impl FnOnce() -> anyhow::Result<()>) {
    if let Err(error) = claim() {
        cluster.explain();
        panic!("{error:#}");
    }
}

/// Neither the addresses of a node nor those of the cluster contradict each other.
fn is_clean(cluster: &Cluster) -> anyhow::Result<()> {
    for node in cluster.nodes() {
        let naru = dist::binary("naru")?.canonicalize()?;
        let naru = naru.display().to_string();
        node.run(&naru, &["--bpf-dir", "/sys/fs/bpf/naru", "ipam", "check"])?;
    }
    Ok(())
}

#[test]
#[ignore = "needs a Kubernetes: cargo xtask test --kubernetes"]
fn every_network_conformance_spec_passes_in_both_modes_of_kube_proxy() {
    for proxy in ["nftables", "iptables"] {
        let cluster = cluster(proxy);
        explained(&cluster, || {
            suite::import_images(&cluster)?;
            let outcome = suite::run(&cluster, r"\[sig-network\].*\[Conformance\]", "")?;
            println!("kube-proxy {proxy}: {} specs passed", outcome.passed);
            anyhow::ensure!(outcome.failed.is_empty(), "{:#?}", outcome.failed);
            is_clean(&cluster)
        });
    }
}

#[test]
#[ignore = "needs a Kubernetes: cargo xtask test --kubernetes"]
fn a_node_restarts_with_its_pods_though_no_agent_can_be_had() {
    let mut cluster = cluster("nftables");
    let gone = ["delete", "daemonset", "naru", "-n", "kube-system", "--wait"];
    cluster.kubectl(&gone).unwrap();
    cluster.reboot("node1").unwrap();
    explained(&cluster, || {
        cluster.wait_for_nodes(PATIENCE)?;
        // The kubelet makes the pod's sandbox anew, which asks the plugin alone.
        let restarted = "jsonpath={.status.containerStatuses[0].restartCount}";
        cluster.wait(&["get", "pod", "a1", "-o", restarted], PATIENCE, |count| count != "0")?;
        talk::wait_for_pods(&cluster)?;
        talk::check(&cluster)?;
        is_clean(&cluster)
    });
}

#[test]
#[ignore = "needs a Kubernetes: cargo xtask test --kubernetes"]
fn sixty_pods_come_at_once_and_go_by_force_and_the_agent_keeps_its_limit() {
    let cluster = cluster("nftables");
    let many = |replicas: u32| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: many}}\nspec:\n  replicas: {replicas}\n  \
             selector: {{matchLabels: {{app: many}}}}\n  template:\n    metadata: {{labels: {{app: many}}}}\n    \
             spec:\n      terminationGracePeriodSeconds: 0\n      containers: [{{name: main, image: \"{AGNHOST}\"}}]\n"
        )
    };
    explained(&cluster, || {
        for _ in 0..3 {
            cluster.apply(&many(60))?;
            let ready = ["get", "deployment", "many", "-o", "jsonpath={.status.readyReplicas}"];
            cluster.wait(&ready, PATIENCE, |count| count == "60")?;
            cluster.kubectl(&["delete", "pods", "-l", "app=many", "--force", "--grace-period=0"])?;
            cluster.apply(&many(0))?;
            let pods = ["get", "pods", "-l", "app=many", "-o", "name"];
            cluster.wait(&pods, PATIENCE, |names| names.trim().is_empty())?;
        }
        for node in cluster.nodes() {
            let left = || -> anyhow::Result<bool> {
                let naru = dist::binary("naru")?.canonicalize()?.display().to_string();
                let list = node.run(&naru, &["--bpf-dir", "/sys/fs/bpf/naru", "ipam", "list", "--json"])?;
                Ok(!list.contains("many-"))
            };
            anyhow::ensure!(
                tool::holds_within(PATIENCE, || left().unwrap_or(false)),
                "{}: addresses stay",
                node.name()
            );
            let peak = node.agent_peak()?;
            println!("{}: peak of the agent's memory group {:.1} MB", node.name(), peak as f64 / 1e6);
            anyhow::ensure!(
                peak < 128 * 1024 * 1024 * 8 / 10,
                "{}: {peak} bytes of its 128 MiB",
                node.name()
            );
        }
        talk::check(&cluster)?;
        is_clean(&cluster)
    });
}
