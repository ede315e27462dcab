//! A cluster with the reference plugins bridge and host-local goes over to naru while its pods run.

use anyhow::ensure;
use naru_e2e::{
    dist,
    kubernetes::{Cluster, reference, talk},
};

use super::{PATIENCE, addresses, explained, is_clean, manifest, restarts::Pings, shape};

#[test]
#[ignore = "needs a Kubernetes: cargo xtask test --kubernetes"]
fn a_cluster_goes_over_from_bridge_and_host_local_while_its_pods_run() {
    let cluster = Cluster::start(shape()).unwrap();
    explained(&cluster, || {
        reference::install(&cluster, &[1, 2])?;
        cluster.wait_for_nodes(PATIENCE)?;
        cluster.start_name_server()?;
        talk::start(&cluster)?;
        let peers = addresses(&cluster, "b1")?;
        let pings = peers
            .iter()
            .map(|peer| Pings::start(&cluster, "a1", peer))
            .collect::<anyhow::Result<Vec<_>>>()?;
        cluster.apply(&manifest())?;
        let status = ["rollout", "status", "daemonset/naru", "-n", "kube-system", "--timeout=240s"];
        cluster.kubectl(&status)?;
        Pings::all_answered(&cluster, pings)?;
        let naru = dist::binary("naru")?.canonicalize()?.display().to_string();
        for node in cluster.nodes() {
            let import =
                ["--bpf-dir", "/sys/fs/bpf/naru", "ipam", "import", "/var/lib/cni/networks/reference"];
            println!("{}: {}", node.name(), node.run(&naru, &import)?);
        }
        for pod in ["a1", "b1"] {
            cluster.kubectl(&["delete", "pod", pod, "--wait"])?;
        }
        talk::start(&cluster)?;
        talk::check(&cluster)?;
        ensure!(!addresses(&cluster, "a1")?.is_empty(), "a1 has no address");
        is_clean(&cluster)
    });
}
