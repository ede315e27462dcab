use std::{collections::BTreeMap, time::Instant};

use naru_core::services::{Compiler, Place};
use serde_json::json;

use super::*;
use crate::follow::{Listing, Meta};
use crate::measured::{alone, resident};

/// As large as the API's own, with all that nobody here looks at.
fn service(number: u32) -> String {
    json!({
        "metadata": {
            "name": format!("service-{number}"),
            "namespace": format!("namespace-{}", number % 100),
            "uid": format!("6f8c0b1a-0000-4000-8000-{number:012}"),
            "resourceVersion": "7",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": { "app.kubernetes.io/name": "web", "app.kubernetes.io/instance": format!("web-{number}") },
            "managedFields": [{ "manager": "kubectl", "operation": "Update", "fieldsV1": { "f:spec": {} } }],
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": format!("10.{}.{}.{}", 96 + (number >> 16), (number >> 8) & 255, number & 255),
            "ports": [{ "name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080 }],
            "selector": { "app.kubernetes.io/name": "web" },
            "sessionAffinity": "None",
            "internalTrafficPolicy": "Cluster",
        },
        "status": { "loadBalancer": {} },
    })
    .to_string()
}

fn slice(number: u32) -> String {
    let endpoint = |replica: u32| {
        let at = number * 3 + replica;
        json!({
            "addresses": [format!("10.{}.{}.{}", 32 + (at >> 16), (at >> 8) & 255, at & 255)],
            "conditions": { "ready": true, "serving": true, "terminating": false },
            "nodeName": format!("node-{}", at % 500),
            "zone": "zone-a",
            "targetRef": { "kind": "Pod", "name": format!("web-{number}-{replica}"), "namespace": "default" },
        })
    };
    json!({
        "metadata": {
            "name": format!("service-{number}-x7k2p"),
            "namespace": format!("namespace-{}", number % 100),
            "uid": format!("7f8c0b1a-0000-4000-8000-{number:012}"),
            "resourceVersion": "7",
            "labels": { "kubernetes.io/service-name": format!("service-{number}") },
        },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
        "endpoints": (0..3).map(endpoint).collect::<Vec<_>>(),
    })
    .to_string()
}

fn listing<T: Kind>(objects: impl Iterator<Item = String>) -> Listing<T> {
    let mut listing = Listing { revision: 7, objects: BTreeMap::new(), nameless: 0 };
    for object in objects {
        let (name, read) = listing_entry(&object);
        listing.objects.insert(name, read);
    }
    listing
}

fn listing_entry<T: Kind>(object: &str) -> (String, (Meta, Result<T, String>)) {
    let meta = crate::follow::meta(object.as_bytes()).unwrap();
    (meta.key(), (meta, T::read(object.as_bytes())))
}

#[test]
fn ten_thousand_services_of_three_endpoints_take_less_than_forty_megabytes() {
    if !alone(concat!(
        module_path!(),
        "::ten_thousand_services_of_three_endpoints_take_less_than_forty_megabytes"
    )) {
        return;
    }
    const COUNT: u32 = 10_000;
    let register = Register::default();
    let scribe = || Scribe { register: register.clone(), progress: Progress::default() };
    let (mut services, mut slices) = (scribe(), scribe());
    let before = resident();
    let mut known: Known<Arc<Service>> = Known::new(None, Pace::default());
    known.listed(listing((0..COUNT).map(service)), Instant::now());
    let news = known.take_news();
    services.told(&known, news);
    let mut known_slices: Known<Arc<Slice>> = Known::new(None, Pace::default());
    known_slices.listed(listing((0..COUNT).map(slice)), Instant::now());
    let news = known_slices.take_news();
    slices.told(&known_slices, news);
    let mut compiler = Compiler::new(Place { node: "node-1".into(), ..Place::default() });
    register.read(|known| compiler.renew(known.model(), known.model().names()));
    let size = resident().saturating_sub(before);
    println!("{COUNT} Services of 3 endpoints: {} KB in memory", size >> 10);
    assert_eq!(compiler.table().frontends.len(), COUNT as usize);
    assert!(compiler.table().frontends.values().all(|one| one.chosen.len() == 3));
    assert!(size < 40 << 20, "{size}");
}
