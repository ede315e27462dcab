//! Events about policies that nodes cannot put into force, at a real API server.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod bed;

use std::time::{Duration, Instant};

use naru_cluster::policies::{LeftOut, Reason};
use naru_core::policy::model::PolicyName;
use naru_kubernetes::KubernetesSource;
use serde_json::{Value, json};

use bed::{Bed, Followed, PATIENCE, node};

const POLICIES: &str = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies";
const EVENTS: &str = "/api/v1/namespaces/default/events";

fn left_out(name: &str, reason: Reason) -> LeftOut {
    let policy = PolicyName { namespace: "default".into(), name: name.into() };
    LeftOut { policy, reason, message: format!("policy default/{name}: too large") }
}

fn events(bed: &Bed) -> Vec<Value> {
    let all = bed.ask("GET", EVENTS, None).unwrap()["items"].as_array().unwrap().clone();
    all.into_iter().filter(|event| event["involvedObject"]["kind"] == "NetworkPolicy").collect()
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn a_policy_that_several_nodes_refuse_has_one_event_and_one_that_fits_again_has_none() {
    let bed = Bed::new();
    (1..=2).for_each(|number| drop(bed.create(&node(number))));
    let nodes: Vec<Followed> = (1..=2)
        .map(|number| {
            let (node, memory) = (node(number).name, bed.path(&format!("{number}.json")));
            Followed::new(KubernetesSource { node, memory, ..bed.source() })
        })
        .collect();
    let made = bed.ask("POST", POLICIES, Some(json!({ "metadata": { "name": "big" }, "spec": {} }))).unwrap();
    let refused = [left_out("big", Reason::DoesNotFit), left_out("gone", Reason::DoesNotFit)];
    for node in &nodes {
        node.contact.policies().set_left_out(refused.clone().into());
    }
    let since = Instant::now();
    while events(&bed).is_empty() {
        assert!(since.elapsed() < PATIENCE, "no event");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // All nodes have written by then, if they do.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let all = events(&bed);
    assert_eq!(all.len(), 1, "{all:#?}");
    assert_eq!(all[0]["involvedObject"]["uid"], made["metadata"]["uid"]);
    assert_eq!((&all[0]["type"], &all[0]["reason"]), (&json!("Warning"), &json!("PolicyDoesNotFit")));
    let message = all[0]["message"].as_str().unwrap();
    let wanted = "policy default/big: too large: what was in force before stays in force on node node00";
    assert!(message.starts_with(wanted), "{message}");

    let unreadable = left_out("big", Reason::Unreadable);
    nodes[0].contact.policies().set_left_out([unreadable].into());
    nodes[0].contact.policies().set_left_out([].into());
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(events(&bed).len(), 1, "what lasted for a moment is no news");
}
