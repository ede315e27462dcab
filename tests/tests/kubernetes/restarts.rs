//! Nodes, agents and versions that come and go while pods run.

use std::process::{Child, Stdio};

use anyhow::{Context, ensure};
use naru_e2e::{
    kubernetes::{Cluster, talk},
    tool,
};

use super::{NO_SANDBOX, PATIENCE, addresses, cluster, crowd, explained, is_clean, shape};

/// The image's name in the manifest, and another one of it.
const IMAGE: &str = concat!("ghcr.io/naru/naru:v", env!("CARGO_PKG_VERSION"));
const NEXT: &str = "ghcr.io/naru/naru:next";

#[test]
#[ignore = "needs a Kubernetes: cargo xtask test --kubernetes"]
fn a_node_restarts_with_its_pods_though_no_agent_can_be_had() {
    let mut cluster = cluster(shape());
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
fn an_upgrade_of_the_daemonset_costs_no_packet_and_no_pod_start() {
    let cluster = cluster(shape());
    explained(&cluster, || {
        for node in cluster.nodes() {
            node.run("ctr", &["--namespace", "k8s.io", "images", "tag", IMAGE, NEXT])?;
        }
        let peers = addresses(&cluster, "b1")?;
        let pings = peers
            .iter()
            .map(|peer| Pings::start(&cluster, "a1", peer))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let system = ["-n", "kube-system"];
        let image = [&["set", "image", "daemonset/naru"][..], &system].concat();
        let (install, agent) = (format!("install={NEXT}"), format!("agent={NEXT}"));
        cluster.kubectl(&[&image[..], &[&install, &agent]].concat())?;
        // Pods come and go while no agent is there, and while the next one starts.
        crowd_during(&cluster)?;
        let status = ["rollout", "status", "daemonset/naru", "--timeout=240s"];
        cluster.kubectl(&[&status[..], &system].concat())?;
        crowd_during(&cluster)?;
        let running = [
            "get",
            "pods",
            "-l",
            "app.kubernetes.io/name=naru",
            "-o",
            "jsonpath={.items[*].spec.containers[0].image}",
        ];
        let running = cluster.kubectl(&[&running[..], &system].concat())?;
        ensure!(running.split_whitespace().all(|image| image == NEXT), "{running}");
        Pings::all_answered(&cluster, pings)?;
        let failed =
            ["get", "events", "-A", "--field-selector", NO_SANDBOX, "-o", "jsonpath={.items[*].message}"];
        let failed = cluster.kubectl(&failed)?;
        ensure!(failed.is_empty(), "{failed}");
        is_clean(&cluster)
    });
}

#[test]
#[ignore = "needs a Kubernetes: cargo xtask test --kubernetes"]
fn a_runtime_that_looks_elsewhere_after_an_upgrade_finds_the_plugins_there() {
    let mut cluster = cluster(shape());
    let elsewhere = "/var/lib/runtime/1234/bin";
    cluster.change_runtime("node1", "/opt/cni/bin", elsewhere).unwrap();
    explained(&cluster, || {
        let plugin = cluster.nodes()[0].file(&format!("{elsewhere}/naru-cni"));
        ensure!(tool::holds_within(PATIENCE, || plugin.is_file()), "{}: not there", plugin.display());
        cluster.wait_for_nodes(PATIENCE)?;
        cluster.kubectl(&["delete", "pod", "a1", "--wait"])?;
        talk::start(&cluster)?;
        talk::check(&cluster)?;
        is_clean(&cluster)
    });
}

fn crowd_during(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.apply(&crowd::many(10))?;
    crowd::wait_for_many(cluster, 10)?;
    cluster.apply(&crowd::many(0))?;
    let pods = ["get", "pods", "-l", "app=many", "-o", "name"];
    cluster.wait(&pods, PATIENCE, |names| names.trim().is_empty()).map(drop)
}

/// Echo requests of a pod, five a second.
pub struct Pings {
    from: String,
    kubectl: Child,
}

impl Pings {
    pub fn start(cluster: &Cluster, from: &str, to: &str) -> anyhow::Result<Self> {
        let mut kubectl = cluster.plane().kubectl()?;
        kubectl.args(["exec", from, "--", "ping", "-i", "0.2", "-W", "5", to]);
        Ok(Self { from: from.to_owned(), kubectl: kubectl.stdout(Stdio::piped()).spawn()? })
    }

    /// Ends all of the pod's, and tells what they say.
    pub fn all_answered(cluster: &Cluster, all: Vec<Self>) -> anyhow::Result<()> {
        let from = all.first().context("no pings")?.from.clone();
        let end =
            "for p in /proc/[0-9]*; do [ \"$(cat $p/comm)\" = ping ] && kill -INT ${p#/proc/}; done; true";
        cluster.kubectl(&["exec", &from, "--", "sh", "-c", end])?;
        for pings in all {
            let output = pings.kubectl.wait_with_output().context("kubectl")?;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            println!("{}", said.lines().rev().nth(1).unwrap_or_default());
            ensure!(said.contains(" 0% packet loss"), "{said}");
        }
        Ok(())
    }
}
