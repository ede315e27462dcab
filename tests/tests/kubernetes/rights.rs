//! Each capability of the DaemonSet is needed: without it no node becomes ready, and the log says what is not allowed.

use anyhow::ensure;
use naru_e2e::kubernetes::{Cluster, talk};

use super::{PATIENCE, explained, manifest, shape};

/// The manifest's lines, and the container that asks for the capability.
const RIGHTS: [(&str, &str, &str); 5] = [
    ("install", "SYS_CHROOT", "add: [SYS_CHROOT]"),
    ("agent", "SYS_CHROOT", "                - SYS_CHROOT\n"),
    ("agent", "NET_ADMIN", "                - NET_ADMIN\n"),
    ("agent", "BPF", "                - BPF\n"),
    ("agent", "PERFMON", "                - PERFMON\n"),
];
/// Words of the kernel for what is not allowed.
const REFUSED: [&str; 3] = ["not permitted", "ermission denied", "prohibited"];

#[test]
#[ignore = "needs a Kubernetes: cargo xtask test --kubernetes"]
fn no_capability_of_the_daemonset_can_be_left_out() {
    let cluster = Cluster::start(shape()).unwrap();
    explained(&cluster, || {
        for (container, capability, line) in RIGHTS {
            ensure!(manifest().matches(line).count() == 1, "{line} is not there once");
            let rest = if line.starts_with("add") { "add: []" } else { "" };
            cluster.apply(&manifest().replace(line, rest))?;
            let said = refusal(&cluster, container)?;
            println!("{container} without {capability}: {said}");
            let ready = "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}";
            let ready = cluster.kubectl(&["get", "nodes", "-o", ready])?;
            ensure!(!ready.contains("True"), "{container} without {capability}: {ready}");
            cluster.kubectl(&["delete", "daemonset", "naru", "-n", "kube-system", "--wait"])?;
            let pods =
                ["get", "pods", "-n", "kube-system", "-l", "app.kubernetes.io/name=naru", "-o", "name"];
            cluster.wait(&pods, PATIENCE, |names| names.trim().is_empty())?;
        }
        cluster.apply(&manifest())?;
        cluster.wait_for_nodes(PATIENCE)?;
        cluster.start_name_server()?;
        talk::start(&cluster)?;
        talk::check(&cluster).map(drop)
    });
}

#[test]
#[ignore = "needs a Kubernetes: cargo xtask test --kubernetes"]
fn a_host_without_a_bpffs_is_told_how_to_get_one_and_then_served() {
    let cluster = Cluster::start(shape()).unwrap();
    explained(&cluster, || {
        for node in cluster.nodes() {
            node.run("umount", &["/sys/fs/bpf"])?;
        }
        cluster.apply(&manifest())?;
        let log =
            ["logs", "-n", "kube-system", "-l", "app.kubernetes.io/name=naru", "-c", "agent", "--prefix"];
        let is_told = |log: &str| log.matches("run mount -t bpf bpf /sys/fs/bpf on the host").count() >= 2;
        cluster.wait(&log, PATIENCE, is_told)?;
        for node in cluster.nodes() {
            node.run("mount", &["-t", "bpf", "bpf", "/sys/fs/bpf"])?;
        }
        cluster.wait_for_nodes(PATIENCE).map(drop)
    });
}

/// The line of the container's log that says what the kernel refused.
fn refusal(cluster: &Cluster, container: &str) -> anyhow::Result<String> {
    let log =
        ["logs", "-n", "kube-system", "-l", "app.kubernetes.io/name=naru", "-c", container, "--tail=100"];
    let refused = |log: &str| {
        let mut lines = log.lines().filter(|line| REFUSED.iter().any(|word| line.contains(word)));
        lines.next().map(str::to_owned)
    };
    cluster.wait(&log, PATIENCE, |log| refused(log).is_some())?;
    Ok(refused(&cluster.kubectl(&log)?).unwrap_or_default())
}
