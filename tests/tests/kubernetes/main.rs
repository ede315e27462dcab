//! A real Kubernetes with naru from its manifest: two nodes with kubelet, containerd and kube-proxy.
//!
//! `cargo xtask test --kubernetes` runs these, one at a time; each makes a cluster of its own.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod chained;
mod conformance;
mod crowd;
mod figures;
mod image;
mod migration;
mod policies;
mod restarts;
mod rights;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use naru_e2e::{
    dist,
    kubernetes::{Cluster, Shape, talk},
    tool,
};

/// Time for something to become so on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);
/// The reason of a pod's event when its network could not be made.
const NO_SANDBOX: &str = "reason=FailedCreatePodSandBox";

/// The shape of a cluster whose nodes have naru's image.
fn shape() -> Shape {
    let image = dist::binary("naru-image.tar").unwrap().canonicalize().unwrap();
    let target = image.parent().and_then(Path::parent).unwrap();
    Shape { images: vec![image.clone()], ..Shape::new("narutest", target.join("kubernetes-test")) }
}

/// A cluster whose nodes are ready by the manifest alone, with pods that talk.
fn cluster(shape: Shape) -> Cluster {
    cluster_by(shape, &manifest())
}

/// The same by such a manifest.
fn cluster_by(shape: Shape, manifest: &str) -> Cluster {
    let cluster = Cluster::start(shape).unwrap();
    explained(&cluster, || {
        cluster.apply(manifest)?;
        cluster.wait_for_nodes(PATIENCE)?;
        cluster.start_name_server()?;
        talk::start(&cluster)
    });
    cluster
}

fn manifest() -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy/naru.yaml");
    fs::read_to_string(path).unwrap()
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
    let naru = dist::binary("naru")?.canonicalize()?.display().to_string();
    for node in cluster.nodes() {
        node.run(&naru, &["--bpf-dir", "/sys/fs/bpf/naru", "ipam", "check"])?;
    }
    let server = cluster.plane().servers()[0].address();
    let kubeconfig = cluster.plane().kubeconfig("check.kubeconfig", server)?;
    let mut check = cluster.beside_the_control_plane(&naru);
    check.args(["cluster", "check", "--kubeconfig"]).arg(kubeconfig);
    tool::text(check.output()?).map(drop)
}

/// The addresses of a pod.
fn addresses(cluster: &Cluster, pod: &str) -> anyhow::Result<Vec<String>> {
    let said = cluster.kubectl(&["get", "pod", pod, "-o", "jsonpath={.status.podIPs[*].ip}"])?;
    Ok(said.split_whitespace().map(str::to_owned).collect())
}
