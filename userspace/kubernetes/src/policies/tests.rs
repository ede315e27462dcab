use std::{collections::BTreeMap, time::Instant};

use naru_cluster::policies::{Register, Settings};
use naru_core::policy::compile::{Compiler, FirstNumbers, Limits};
use serde_json::json;

use super::*;
use crate::follow::{Known, Listing, Pace, meta};
use crate::measured::{alone, resident};

/// As large as the API's own, with all that nobody here looks at.
fn pod(number: u32) -> String {
    let environment = (0..20).map(|at| json!({ "name": format!("VARIABLE_{at}"), "value": "some text" }));
    json!({
        "metadata": {
            "name": format!("web-6d4cf56db6-{number:05}"),
            "namespace": format!("namespace-{}", number % 100),
            "uid": format!("6f8c0b1a-0000-4000-8000-{number:012}"),
            "resourceVersion": "7",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {
                "app.kubernetes.io/name": "web",
                "app.kubernetes.io/instance": format!("web-{}", number % 1000),
                "pod-template-hash": "6d4cf56db6",
            },
            "managedFields": [{ "manager": "kubelet", "operation": "Update", "fieldsV1": { "f:spec": {} } }],
        },
        "spec": {
            "nodeName": format!("node-{}", number % 500),
            "containers": [{
                "name": "web",
                "image": "registry.example.org/team/web:1.2.3",
                "env": environment.collect::<Vec<_>>(),
                "ports": [{ "name": "http", "containerPort": 8080, "protocol": "TCP" }],
            }],
        },
        "status": {
            "phase": "Running",
            "podIP": format!("10.{}.{}.{}", 32 + (number >> 16), (number >> 8) & 255, number & 255),
            "podIPs": [{ "ip": format!("10.{}.{}.{}", 32 + (number >> 16), (number >> 8) & 255, number & 255) }],
        },
    })
    .to_string()
}

/// A large cluster: what the follower keeps of it, and what a compiler does that has a rule about some of the pods.
#[test]
fn ten_thousand_pods_take_less_than_thirty_megabytes() {
    if !alone(concat!(module_path!(), "::ten_thousand_pods_take_less_than_thirty_megabytes")) {
        return;
    }
    let before = resident();
    let mut known = Known::<Arc<Pod>>::new(None, Pace::default());
    let mut objects = BTreeMap::new();
    for number in 0..10_000 {
        let text = pod(number);
        let meta = meta(text.as_bytes()).unwrap();
        objects.insert(meta.key(), (meta, Arc::<Pod>::read(text.as_bytes())));
    }
    known.listed(Listing { revision: 7, objects, nameless: 0 }, Instant::now());
    let register = Register::default();
    let policy = json!({
        "metadata": { "name": "p", "namespace": "namespace-1", "uid": "u", "resourceVersion": "7" },
        "spec": { "podSelector": {}, "ingress": [{ "from": [{ "podSelector": {} }] }] },
    });
    let policy = Arc::<NetworkPolicy>::read(policy.to_string().as_bytes()).unwrap();
    register.change(|content| {
        content.set_settings(Settings::default());
        content.put(naru_core::policy::model::Event::Policy(policy.name.clone(), Some(policy.clone())));
        for entry in known.entries().values() {
            let pod = entry.value.clone().unwrap();
            content.put(naru_core::policy::model::Event::Pod(pod.uid.clone(), Some(pod)));
        }
        naru_cluster::policies::Kind::ALL.into_iter().for_each(|kind| content.set_listed(kind));
    });
    drop(known.take_news());
    let limits = Limits { peers: 100_000, nets: 1000, rules: 1000 };
    let mut compiler = Compiler::new("node-1", limits, FirstNumbers::default());
    let refusals = compiler.apply(register.take().unwrap().events);
    assert_eq!(refusals, []);
    assert_eq!(compiler.take_plan().peers.len(), 100, "only addresses that a rule here tells from others");
    let taken = resident().saturating_sub(before);
    println!("10,000 pods take {} kB", taken >> 10);
    assert!(taken < 30 << 20, "{taken} bytes");
}
