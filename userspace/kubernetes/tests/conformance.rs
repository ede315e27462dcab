//! The duties of every source, held against a real API server.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod bed;

use std::fs;

use naru_cluster::{
    Source,
    conformance::{self, Store},
};
use naru_core::cluster::ClusterSpec;

use bed::Bed;

/// An API server behind a relay, and the settings of the cluster, as one place where a cluster is agreed.
struct Kubernetes(Bed);

impl Store for Kubernetes {
    fn source(&self) -> Box<dyn Source> {
        Box::new(self.0.source())
    }

    fn put(&mut self, cluster: &ClusterSpec) {
        let ranges: Vec<String> = cluster.ranges.iter().map(|range| format!("\"{range}\"")).collect();
        fs::write(self.0.path("settings.toml"), format!("ranges = [{}]\n", ranges.join(", "))).unwrap();
        let known = self.0.names();
        let gone: Vec<String> = known.iter().filter(|name| cluster.node(name).is_none()).cloned().collect();
        self.0.delete(&gone);
        cluster
            .nodes
            .iter()
            .filter(|node| !known.contains(&node.name))
            .for_each(|node| drop(self.0.create(node)));
        self.0.relay.open();
    }

    fn spoil(&mut self) {
        fs::write(self.0.path("settings.toml"), "ranges = 7\n").unwrap();
    }

    fn withdraw(&mut self) {
        self.0.relay.close();
    }
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn the_kubernetes_api_does_what_every_source_must() {
    conformance::all(|| Kubernetes(Bed::closed())).await;
}
