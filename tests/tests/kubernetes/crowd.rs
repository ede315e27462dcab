//! Many pods at once.

use anyhow::ensure;
use naru_e2e::{
    dist,
    kubernetes::{AGNHOST, Cluster, talk},
    tool,
};

use super::{NO_SANDBOX, PATIENCE, cluster, explained, is_clean, shape};

/// A Deployment of so many pods.
pub fn many(replicas: u32) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: many}}\nspec:\n  replicas: {replicas}\n  \
         selector: {{matchLabels: {{app: many}}}}\n  template:\n    metadata: {{labels: {{app: many}}}}\n    \
         spec:\n      terminationGracePeriodSeconds: 0\n      containers: [{{name: main, image: \"{AGNHOST}\"}}]\n"
    )
}

/// Waits until so many pods of [`many`] are ready.
pub fn wait_for_many(cluster: &Cluster, replicas: u32) -> anyhow::Result<()> {
    let ready = ["get", "deployment", "many", "-o", "jsonpath={.status.readyReplicas}"];
    cluster.wait(&ready, PATIENCE, |count| count == replicas.to_string()).map(drop)
}

/// Deletes the pods of [`many`] by force, and waits until none is left.
pub fn remove_many(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.apply(&many(0))?;
    cluster.kubectl(&["delete", "pods", "-l", "app=many", "--force", "--grace-period=0"])?;
    let pods = ["get", "pods", "-l", "app=many", "-o", "name"];
    cluster.wait(&pods, PATIENCE, |names| names.trim().is_empty()).map(drop)
}

#[test]
#[ignore = "needs a Kubernetes: cargo xtask test --kubernetes"]
fn sixty_pods_come_at_once_and_go_by_force_and_the_agent_keeps_its_limit() {
    let cluster = cluster(shape());
    explained(&cluster, || {
        for _ in 0..3 {
            cluster.apply(&many(60))?;
            wait_for_many(&cluster, 60)?;
            remove_many(&cluster)?;
        }
        has_none_left(&cluster)?;
        for node in cluster.nodes() {
            let peak = node.agent_peak()?;
            println!("{}: peak of the agent's memory group {:.1} MB", node.name(), peak as f64 / 1e6);
            ensure!(peak < 128 * 1024 * 1024 * 8 / 10, "{}: {peak} bytes of its 128 MiB", node.name());
        }
        let failed = cluster.kubectl(&["get", "events", "-A", "--field-selector", NO_SANDBOX])?;
        // A sandbox that is made for a pod that was deleted meanwhile fails without anybody's fault.
        print!("{failed}");
        talk::check(&cluster)?;
        is_clean(&cluster)
    });
}

#[test]
#[ignore = "needs a Kubernetes: cargo xtask test --kubernetes"]
fn forty_pods_come_and_go_ten_times_by_force_and_over_restarts_of_a_kubelet() {
    let mut cluster = cluster(shape());
    for round in 0..10 {
        explained(&cluster, || {
            cluster.apply(&many(40))?;
            if round % 2 == 0 { wait_for_many(&cluster, 40) } else { Ok(()) }
        });
        // In the middle of what it does, in every other round.
        cluster.restart_kubelet(if round % 4 < 2 { "node1" } else { "node2" }).unwrap();
        explained(&cluster, || {
            wait_for_many(&cluster, 40)?;
            remove_many(&cluster)
        });
        println!("round {round}: 40 pods came and went");
    }
    explained(&cluster, || {
        has_none_left(&cluster)?;
        talk::check(&cluster)?;
        is_clean(&cluster)
    });
}

/// Waits until no node has an address of a pod of [`many`].
fn has_none_left(cluster: &Cluster) -> anyhow::Result<()> {
    for node in cluster.nodes() {
        let is_free = || -> anyhow::Result<bool> {
            let naru = dist::binary("naru")?.canonicalize()?.display().to_string();
            let list = node.run(&naru, &["--bpf-dir", "/sys/fs/bpf/naru", "ipam", "list", "--json"])?;
            Ok(!list.contains("many-"))
        };
        let is_free = tool::holds_within(PATIENCE, || is_free().unwrap_or(false));
        ensure!(is_free, "{}: addresses stay", node.name());
    }
    Ok(())
}
