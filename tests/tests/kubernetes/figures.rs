//! Figures of a real cluster, beside those of the reference plugins on the same machine: printed, never judged.

use std::time::{Duration, Instant};

use naru_e2e::kubernetes::{AGNHOST, Cluster, Shape, reference};

use super::{PATIENCE, explained, manifest, shape};

/// Pods of each network.
const ROUNDS: usize = 20;

#[test]
#[ignore = "needs a Kubernetes: cargo xtask test --kubernetes"]
fn figures_of_nodes_and_pods_beside_those_of_bridge_and_host_local() {
    let cluster = Cluster::start(Shape { nodes: 4, ..shape() }).unwrap();
    explained(&cluster, || {
        let named = ["get", "nodes", "-o", "jsonpath={.items[*].spec.podCIDR}"];
        cluster.wait(&named, PATIENCE, |ranges| ranges.split_whitespace().count() == 4)?;
        let since = Instant::now();
        cluster.apply(&only_on(&manifest(), "node1, node2"))?;
        let naru = ready(&cluster, since, ["node1", "node2"])?;
        let since = Instant::now();
        reference::install(&cluster, &[3, 4])?;
        let bridge = ready(&cluster, since, ["node3", "node4"])?;
        println!("apply to two nodes Ready: naru {naru:.1?}, bridge and host-local {bridge:.1?}");
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..=ROUNDS {
            for (node, times) in ["node1", "node3"].into_iter().zip(&mut times) {
                let took = start(&cluster, node, &format!("p{round}-{node}"))?;
                // The first is a rehearsal.
                if round > 0 {
                    times.push(took);
                }
            }
        }
        for (name, mut times) in ["naru", "bridge and host-local"].into_iter().zip(times) {
            times.sort();
            let (least, median, most) = (times[0], times[ROUNDS / 2], times[ROUNDS - 1]);
            println!("kubectl run to Ready, {ROUNDS} pods: {name}: {least:.2?} {median:.2?} {most:.2?}");
        }
        Ok(())
    });
}

/// The manifest for some of the nodes.
fn only_on(manifest: &str, nodes: &str) -> String {
    let key = "                  - key: kubernetes.io/os\n";
    let more = "                  - key: kubernetes.io/hostname\n                    operator: In\n";
    manifest.replace(key, &format!("{more}                    values: [{nodes}]\n{key}"))
}

fn ready(cluster: &Cluster, since: Instant, nodes: [&str; 2]) -> anyhow::Result<Duration> {
    let nodes = nodes.map(|node| format!("node/{node}"));
    let wait = ["wait", "--for=condition=Ready", &nodes[0], &nodes[1], "--timeout=240s"];
    cluster.kubectl(&wait)?;
    Ok(since.elapsed())
}

/// The time from the request for a pod until it is ready.
fn start(cluster: &Cluster, node: &str, name: &str) -> anyhow::Result<Duration> {
    let chosen = format!("{{\"spec\":{{\"nodeName\":\"{node}\",\"terminationGracePeriodSeconds\":0}}}}");
    let image = format!("--image={AGNHOST}");
    let since = Instant::now();
    cluster.kubectl(&["run", name, &image, "--restart=Never", &format!("--overrides={chosen}")])?;
    cluster.kubectl(&["wait", "--for=condition=Ready", &format!("pod/{name}"), "--timeout=240s"])?;
    let took = since.elapsed();
    cluster.kubectl(&["delete", "pod", name, "--wait"])?;
    Ok(took)
}
