//! Services and slices of a real API server in the node's register, and what faults of the API do to them: nothing.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails as the test does")]

mod bed;

use std::time::Duration;

use naru_cluster::services::{Known, Mode, Standing};
use naru_core::services::{Place, compile};
use naru_kubernetes::{KubernetesSource, Pace};
use serde_json::{Value, json};

use bed::{Bed, Followed, PACE, PATIENCE, node};

const SERVICES: &str = "/api/v1/namespaces/default/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

fn service(name: &str, spec: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name }, "spec": spec })
}

fn slice(name: &str, service: &str, endpoints: &[&str]) -> Value {
    let endpoint = |address: &&str| json!({ "addresses": [address], "nodeName": "node001" });
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": { "name": name, "labels": { "kubernetes.io/service-name": service } },
        "addressType": "IPv4",
        "ports": [{ "name": "", "port": 8080, "protocol": "TCP" }],
        "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>(),
    })
}

/// A control plane with node 1 and without Services but its own; those of the test before are gone.
fn bed() -> Bed {
    let bed = Bed::new();
    bed.create(&node(1));
    for path in [SERVICES, SLICES] {
        let list = bed.ask("GET", path, None).unwrap();
        for item in list["items"].as_array().unwrap() {
            let name = item["metadata"]["name"].as_str().unwrap();
            if name != "kubernetes" {
                bed.ask("DELETE", &format!("{path}/{name}"), None).unwrap();
            }
        }
    }
    bed
}

/// The backends of every Service in the namespace but the API's own, as the table of node001 has them.
fn shown(known: &Known) -> Vec<String> {
    let table = compile(known.model(), Place { node: "node001".into(), ..Place::default() });
    let mut lines: Vec<String> = table
        .frontends
        .values()
        .filter(|one| one.service.name != "kubernetes")
        .map(|one| {
            let backends = one.chosen.iter().map(|backend| format!("{}:{}", backend.address, backend.port));
            format!("{} {}", one.service.name, backends.collect::<Vec<_>>().join(","))
        })
        .collect();
    lines.sort();
    lines
}

async fn until(followed: &Followed, what: &str, is_so: impl Fn(&Known) -> bool) {
    let since = std::time::Instant::now();
    while !followed.contact.services().read(&is_so) {
        let (lines, complaint) =
            followed.contact.services().read(|known| (shown(known), known.complaint().map(str::to_owned)));
        assert!(since.elapsed() < PATIENCE, "{what}: {lines:?}, {complaint:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn services_and_slices_are_followed_and_an_api_that_is_away_takes_none_of_them() {
    let bed = bed();
    let web = service("web", json!({ "ports": [{ "port": 80, "targetPort": 8080 }] }));
    bed.ask("POST", SERVICES, Some(web)).unwrap();
    bed.ask("POST", SLICES, Some(slice("web-1", "web", &["10.32.1.5"]))).unwrap();
    let followed = bed.follow();
    let register = followed.contact.services();
    until(&followed, "both", |known| shown(known) == ["web 10.32.1.5:8080"]).await;
    assert_eq!(register.read(Known::standing), Standing::Read);
    assert!(register.read(Known::heard).is_some());
    bed.ask("POST", SLICES, Some(slice("web-2", "web", &["10.32.1.6"]))).unwrap();
    until(&followed, "one more", |known| shown(known) == ["web 10.32.1.5:8080,10.32.1.6:8080"]).await;

    bed.relay.close();
    bed.ask("DELETE", &format!("{SLICES}/web-1"), None).unwrap();
    until(&followed, "a complaint", |known| known.complaint().is_some()).await;
    assert_eq!(register.read(shown), ["web 10.32.1.5:8080,10.32.1.6:8080"]);
    bed.relay.open();
    until(&followed, "the goodbye", |known| shown(known) == ["web 10.32.1.6:8080"]).await;
    until(&followed, "no complaint", |known| known.complaint().is_none()).await;

    let label = |zone: Value| json!({ "metadata": { "labels": { "topology.kubernetes.io/zone": zone } } });
    bed.patch("node001", label(json!("z1")));
    until(&followed, "the zone", |known| known.zone("node001") == "z1").await;
    bed.patch("node001", label(Value::Null));
    until(&followed, "no zone", |known| known.zone("node001").is_empty()).await;

    std::fs::write(bed.path("settings.toml"), "services = \"stack\"\n").unwrap();
    until(&followed, "the setting", |known| known.mode() == Mode::Stack).await;

    bed.ask("DELETE", &format!("{SERVICES}/web"), None).unwrap();
    until(&followed, "its end", |known| shown(known).is_empty()).await;
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn a_list_without_services_is_not_believed_when_it_is_said_once() {
    let bed = bed();
    for number in 1..=4 {
        let name = format!("s{number}");
        bed.ask("POST", SERVICES, Some(service(&name, json!({ "ports": [{ "port": 80 }] })))).unwrap();
        bed.ask("POST", SLICES, Some(slice(&name, &name, &["10.32.1.5"]))).unwrap();
    }
    let pace = Pace { resync: Duration::from_secs(1), ..PACE };
    let followed = Followed::new(KubernetesSource { pace, ..bed.source() });
    until(&followed, "all", |known| shown(known).len() == 4).await;
    let mut is_told = [false; 2];
    bed.relay.faults().edit = Some(Box::new(move |path, list| {
        let kinds = ["/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices"];
        let kind = kinds.iter().position(|kind| path.starts_with(kind));
        let is_first = kind.is_some_and(|kind| !std::mem::replace(&mut is_told[kind], true));
        if !is_first {
            return list;
        }
        let mut list: Value = serde_json::from_str(&list).unwrap();
        list["items"] = json!([]);
        list.to_string()
    }));
    for _ in 0..300 {
        assert_eq!(followed.contact.services().read(shown).len(), 4);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bed.ask("DELETE", &format!("{SERVICES}/s4"), None).unwrap();
    until(&followed, "one goodbye", |known| shown(known).len() == 3).await;
}
