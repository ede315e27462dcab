//! Policies of a real API server in the node's register, with the namespaces and pods that they speak about, which
//! nobody asks for while there are none.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod bed;

use std::time::{Duration, Instant};

use naru_cluster::policies::{Known, Standing};
use naru_core::policy::model::Cluster;
use serde_json::{Value, json};

use bed::{Bed, Followed, PATIENCE, node};

const POLICIES: &str = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies";
const PODS: &str = "/api/v1/namespaces/default/pods";

fn policy(name: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": { "name": name },
        "spec": { "podSelector": {}, "policyTypes": ["Ingress"] },
    })
}

fn pod(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": name } },
        "spec": { "nodeName": node, "containers": [{ "name": "c", "image": "i" }] },
    })
}

/// A control plane with node 1 and without policies and pods; those of the test before are gone.
fn bed() -> Bed {
    let bed = Bed::new();
    bed.create(&node(1));
    for path in [POLICIES, PODS] {
        let list = bed.ask("GET", path, None).unwrap();
        for item in list["items"].as_array().unwrap() {
            let name = item["metadata"]["name"].as_str().unwrap();
            bed.ask("DELETE", &format!("{path}/{name}?gracePeriodSeconds=0"), None).unwrap();
        }
    }
    // Nobody else makes it: no controller manager runs.
    let account = json!({ "metadata": { "name": "default" } });
    let _ = bed.ask("POST", "/api/v1/namespaces/default/serviceaccounts", Some(account));
    bed
}

/// All that the register said, as objects.
#[derive(Default)]
struct Told(Cluster);

impl Told {
    fn take(&mut self, followed: &Followed) {
        for event in followed.contact.policies().take().into_iter().flat_map(|news| news.events) {
            self.0.apply(event);
        }
    }

    fn pods(&self) -> Vec<String> {
        let mut names = self.0.pods.values().map(|pod| pod.name.clone()).collect::<Vec<_>>();
        names.sort();
        names
    }

    async fn wait(&mut self, followed: &Followed, what: &str, is_so: impl Fn(&Self) -> bool) {
        let since = Instant::now();
        loop {
            self.take(followed);
            if is_so(self) {
                return;
            }
            let complaint = followed.contact.policies().read(|known| known.complaint().map(str::to_owned));
            assert!(since.elapsed() < PATIENCE, "{what}: {:?}, {complaint:?}", self.0);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn until(followed: &Followed, what: &str, is_so: impl Fn(&Known) -> bool) {
    let since = Instant::now();
    while !followed.contact.policies().read(&is_so) {
        assert!(since.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn pods_are_asked_for_only_while_there_are_policies_and_an_api_that_is_away_takes_nothing() {
    let bed = bed();
    bed.ask("POST", PODS, Some(pod("web", "node001"))).unwrap();
    bed.ask("POST", PODS, Some(pod("nowhere", ""))).unwrap();
    let followed = bed.follow();
    until(&followed, "no policies", |known| known.standing() == Standing::Read).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let asks_for_pods =
        |path: &String| ["/pods", "/namespaces", "/podaddresses"].iter().any(|kind| path.contains(kind));
    let asked: Vec<String> =
        bed.relay.requests().into_iter().filter(|path| !path.contains("/namespaces/default/")).collect();
    assert!(!asked.iter().any(asks_for_pods), "{asked:#?}");

    bed.ask("POST", POLICIES, Some(policy("p"))).unwrap();
    let mut told = Told::default();
    told.wait(&followed, "policy and pod", |told| told.0.policies.len() == 1 && told.pods() == ["web"]).await;
    assert!(told.0.namespaces.contains_key("default"));
    bed.ask("POST", PODS, Some(pod("db", "node001"))).unwrap();
    told.wait(&followed, "one more", |told| told.pods() == ["db", "web"]).await;
    let ended = json!({ "status": { "phase": "Succeeded" } });
    bed.ask("PATCH", &format!("{PODS}/db/status"), Some(ended)).unwrap();
    told.wait(&followed, "its end", |told| told.pods() == ["web"]).await;

    bed.relay.close();
    bed.ask("DELETE", &format!("{POLICIES}/p"), None).unwrap();
    until(&followed, "a complaint", |known| known.complaint().is_some()).await;
    told.take(&followed);
    assert_eq!((told.0.policies.len(), told.pods()), (1, vec!["web".to_owned()]));
    bed.relay.open();
    told.wait(&followed, "the goodbye", |told| told.0.policies.is_empty()).await;
    until(&followed, "no complaint", |known| known.complaint().is_none()).await;
}
