//! Clusters with another network go over to naru while their pods run, as docs/migration.md says.

use std::collections::BTreeSet;

use anyhow::ensure;
use naru_e2e::{
    dist,
    kubernetes::{AGNHOST, Cluster, flannel, reference, talk},
    tool,
};

use super::{
    PATIENCE, addresses,
    crowd::{many, remove_many, wait_for_many},
    explained, is_clean, manifest,
    restarts::Pings,
    shape,
};

#[test]
#[ignore = "needs a Kubernetes: cargo xtask test --kubernetes"]
fn a_cluster_goes_over_from_bridge_and_host_local_while_its_pods_run() {
    let cluster = Cluster::start(shape()).unwrap();
    explained(&cluster, || {
        reference::install(&cluster, &[1, 2])?;
        let old = begin(&cluster)?;
        take_over(&cluster, reference::NETWORK, &old)?;
        renew_pods(&cluster)?;
        reference::remove(&cluster, &[1, 2])?;
        end(&cluster)
    });
}

#[test]
#[ignore = "needs a Kubernetes: cargo xtask test --kubernetes"]
fn a_cluster_goes_over_from_flannel_while_its_pods_run() {
    let cluster = Cluster::start(shape()).unwrap();
    explained(&cluster, || {
        let flannel = flannel::Flannel::install(&cluster)?;
        let old = begin(&cluster)?;
        take_over(&cluster, flannel::NETWORK, &old)?;
        renew_pods(&cluster)?;
        flannel.remove(&cluster)?;
        end(&cluster)
    });
}

/// Pods of the network that is there; returns all addresses that its pods have.
fn begin(cluster: &Cluster) -> anyhow::Result<BTreeSet<String>> {
    cluster.wait_for_nodes(PATIENCE)?;
    cluster.start_name_server()?;
    talk::start(cluster)?;
    talk::check(cluster)?;
    let all = [
        "get",
        "pods",
        "-A",
        "--field-selector=spec.hostNetwork=false",
        "-o",
        "jsonpath={.items[*].status.podIPs[*].ip}",
    ];
    Ok(cluster.kubectl(&all)?.split_whitespace().map(str::to_owned).collect())
}

/// naru is applied while pods of the other network talk. No packet of theirs is lost, and nobody gets an address of
/// theirs.
fn take_over(cluster: &Cluster, network: &str, old: &BTreeSet<String>) -> anyhow::Result<()> {
    let peers = addresses(cluster, "b1")?;
    let pings =
        peers.iter().map(|peer| Pings::start(cluster, "a1", peer)).collect::<anyhow::Result<Vec<_>>>()?;
    let key = "  # import: /var/lib/cni/networks/cbr0\n";
    ensure!(manifest().contains(key), "the manifest has no key for the import");
    let import = format!("  import: /var/lib/cni/networks/{network}\n");
    cluster.apply(&manifest().replace(key, &import))?;
    cluster.kubectl(&["rollout", "status", "daemonset/naru", "-n", "kube-system", "--timeout=240s"])?;
    cluster.apply(&many(40))?;
    wait_for_many(cluster, 40)?;
    let new = ["get", "pods", "-l", "app=many", "-o", "jsonpath={.items[*].status.podIPs[*].ip}"];
    let new: BTreeSet<String> = cluster.kubectl(&new)?.split_whitespace().map(str::to_owned).collect();
    ensure!(new.len() == 80, "{} addresses of 40 pods", new.len());
    let both: Vec<&String> = new.intersection(old).collect();
    ensure!(both.is_empty(), "given twice: {both:?}");
    old_and_new_talk(cluster)?;
    Pings::all_answered(cluster, pings)?;
    remove_many(cluster)
}

/// Pods of the new network on one node and those of the old one on the other reach each other.
fn old_and_new_talk(cluster: &Cluster) -> anyhow::Result<()> {
    let on =
        |node: &str| format!("{{\"spec\":{{\"nodeName\":\"{node}\",\"terminationGracePeriodSeconds\":0}}}}");
    for (new, node, old) in [("new1", "node1", "b1"), ("new2", "node2", "a1")] {
        let (image, on) = (format!("--image={AGNHOST}"), format!("--overrides={}", on(node)));
        cluster.kubectl(&["run", new, &image, "--restart=Never", &on, "--", "netexec"])?;
        cluster.kubectl(&["wait", "--for=condition=Ready", &format!("pod/{new}"), "--timeout=240s"])?;
        for (from, to) in [(new, old), (old, new)] {
            for address in addresses(cluster, to)? {
                let host = if address.contains(':') { format!("[{address}]") } else { address };
                let url = format!("http://{host}:8080/hostname");
                let said = cluster.kubectl(&["exec", from, "--", "curl", "-sS", "-m", "10", &url])?;
                ensure!(said == to, "{from} asked {to} at {host}, and {said:?} answered");
            }
        }
    }
    cluster.kubectl(&["delete", "pods", "new1", "new2", "--wait"]).map(drop)
}

/// Every pod is made anew, as when its node is drained.
fn renew_pods(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.kubectl(&["delete", "pods", "a1", "b1", "--wait"])?;
    cluster.kubectl(&["delete", "pods", "-n", "kube-system", "-l", "k8s-app=kube-dns", "--wait"])?;
    talk::start(cluster)?;
    talk::check(cluster).map(drop)
}

/// Nothing of the old network is left, and nothing is missing: the agent has put its own routes in the place of those
/// that went.
fn end(cluster: &Cluster) -> anyhow::Result<()> {
    let naru = dist::binary("naru")?.canonicalize()?.display().to_string();
    for node in cluster.nodes() {
        let status = || node.run(&naru, &["--bpf-dir", "/sys/fs/bpf/naru", "status"]);
        let is_fine = tool::holds_within(PATIENCE, || status().is_ok());
        ensure!(is_fine, "{:?}", status());
    }
    talk::check(cluster)?;
    is_clean(cluster)
}
