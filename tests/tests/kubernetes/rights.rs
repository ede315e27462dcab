//! Each capability of the DaemonSet is needed: without it no node becomes ready, and the log says what is not allowed.

use std::fs;

use anyhow::ensure;
use naru_e2e::kubernetes::{AGNHOST, Cluster, Shape, talk};

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
            // The host's root directory is named instead.
            let is_named = said.contains(&format!("CAP_{capability}")) || said.contains("/host");
            ensure!(is_named, "{container} without {capability}: {said}");
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

/// The API server takes critical pods only where a quota grants them.
const ONLY_BY_QUOTA: &str = "apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: ResourceQuota
  configuration:
    apiVersion: apiserver.config.k8s.io/v1
    kind: ResourceQuotaConfiguration
    limitedResources:
    - resource: pods
      matchScopes: [{scopeName: PriorityClass, operator: In, values: [system-node-critical]}]
";
/// The quota of kube-system, as clusters with such an API server have it.
const QUOTA: &str = "apiVersion: v1
kind: ResourceQuota
metadata: {name: critical-pods, namespace: kube-system}
spec:
  hard: {pods: 1G}
  scopeSelector:
    matchExpressions: [{scopeName: PriorityClass, operator: In, values: [system-node-critical]}]
";

#[test]
#[ignore = "needs a Kubernetes: cargo xtask test --kubernetes"]
fn one_apply_is_enough_where_critical_pods_are_limited_to_kube_system() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("admission.yaml");
    fs::write(&file, ONLY_BY_QUOTA).unwrap();
    let server = vec![format!("--admission-control-config-file={}", file.display())];
    let cluster = Cluster::start(Shape { server, ..shape() }).unwrap();
    explained(&cluster, || {
        cluster.apply(QUOTA)?;
        let critical = r#"--overrides={"spec":{"priorityClassName":"system-node-critical"}}"#;
        let image = format!("--image={AGNHOST}");
        let refused = cluster.kubectl(&["run", "elsewhere", &image, "--dry-run=server", critical]);
        let said = refused.map_or_else(|error| format!("{error:#}"), |said| format!("taken: {said}"));
        ensure!(said.contains("insufficient quota"), "a critical pod in another namespace: {said}");
        cluster.apply(&manifest())?;
        cluster.wait_for_nodes(PATIENCE).map(drop)
    });
}
