//! Table of changes to a cluster's objects while its pods run, with the finding expected while each one lasts; after
//! it, `naru status`, `naru ipam check` and `naru cluster check` report nothing.

use std::process::Command;

use serde_json::{Value, json};

use crate::{
    PATIENCE,
    machine::{pod::Pod, run, wait},
    scene::Scene,
};

/// A situation.
struct Row {
    name: &'static str,
    /// Makes it; the pods run until the end of the table.
    begin: fn(&Scene),
    /// The code of the finding while it lasts, and where it is told.
    told: Option<Told>,
    /// Ends it.
    end: fn(&Scene),
    /// The map has this entry then, and no other range of node2.
    peer: &'static str,
}

enum Told {
    Status(&'static str),
    Cluster(&'static str),
}

const FIRST: &[&str] = &["10.32.0.0/24", "fd10:32::/112"];
const PEER: &[&str] = &["10.32.1.0/24", "fd10:32::1:0/112"];

const TABLE: &[Row] = &[
    Row {
        name: "somebody deletes this node's object, and its kubelet registers it again with the same range",
        begin: |scene| scene.delete("node1"),
        told: Some(Told::Status("pod-outside-range")),
        end: |scene| scene.create(1, FIRST),
        peer: "10.32.1.0/24 ",
    },
    Row {
        name: "a peer's object is deleted and comes back with another range",
        begin: |scene| scene.delete("node2"),
        told: None,
        end: |scene| scene.create(2, &["10.32.9.0/24", "fd10:32::9:0/112"]),
        peer: "10.32.9.0/24 ",
    },
    Row {
        name: "two nodes claim one range until the older object goes",
        begin: |scene| scene.create(3, &["10.32.9.0/24", "fd10:32::3:0/112"]),
        told: Some(Told::Cluster("blocks-overlap")),
        end: |scene| {
            scene.delete("node3");
            scene.delete("node2");
            scene.create(2, PEER);
        },
        peer: "10.32.1.0/24 ",
    },
    Row {
        name: "two nodes have one address",
        begin: |scene| {
            scene.create(3, &["10.32.3.0/24", "fd10:32::3:0/112"]);
            annotate(scene, "node3", "\"198.51.100.2\"");
        },
        told: Some(Told::Cluster("node-address-twice")),
        end: |scene| scene.delete("node3"),
        peer: "10.32.1.0/24 ",
    },
    Row {
        name: "an administrator's override is nonsense",
        begin: |scene| annotate(scene, "node2", "\"nonsense\""),
        told: Some(Told::Cluster("node-invalid")),
        end: |scene| annotate(scene, "node2", "null"),
        peer: "10.32.1.0/24 ",
    },
    Row {
        name: "a new node has IPv4 alone in a cluster of both families",
        begin: |scene| scene.create(3, &["10.32.3.0/24"]),
        told: Some(Told::Cluster("node-without-range")),
        end: |scene| scene.delete("node3"),
        peer: "10.32.1.0/24 ",
    },
    Row {
        name: "a new node is a copy of another machine",
        begin: |scene| {
            scene.create(3, &["10.32.3.0/24", "fd10:32::3:0/112"]);
            for node in ["node2", "node3"] {
                status(scene, node, r#"{"status":{"nodeInfo":{"machineID":"one"}}}"#);
            }
        },
        told: Some(Told::Cluster("node-cloned")),
        end: |scene| {
            status(scene, "node3", r#"{"status":{"nodeInfo":{"machineID":"three"}}}"#);
            wait("an end of the copy", PATIENCE, || !told_of_cluster(scene, "node-cloned"));
            scene.delete("node3");
        },
        peer: "10.32.1.0/24 ",
    },
    Row {
        name: "nodes that are no machines of ours come and stay",
        begin: |scene| {
            for (name, label) in
                [("vk1", r#"{"type":"virtual-kubelet"}"#), ("win1", r#"{"kubernetes.io/os":"windows"}"#)]
            {
                let object = format!(
                    r#"{{"kind":"Node","apiVersion":"v1","metadata":{{"name":"{name}","labels":{label}}}}}"#
                );
                scene.plane.run(&["create", "--raw", "/api/v1/nodes", "-f", "-"], &object).unwrap();
            }
        },
        told: None,
        end: |_| {},
        peer: "10.32.1.0/24 ",
    },
    Row {
        name: "the runtime asks late for a pod that is done, and lets it go twice",
        begin: |scene| {
            for round in 0..10 {
                let pod = Pod::new(&scene.machine, &format!("late{round}"), json!({}));
                pod.add(&scene.machine);
                pod.del(&scene.machine);
                pod.del(&scene.machine);
            }
        },
        told: None,
        end: |_| {},
        peer: "10.32.1.0/24 ",
    },
    Row {
        name: "pods go with their namespaces and without a goodbye",
        begin: |scene| {
            let pods: Vec<Pod> =
                (0..10).map(|pod| Pod::new(&scene.machine, &format!("gone{pod}"), json!({}))).collect();
            pods.iter().for_each(|pod| drop(pod.add(&scene.machine)));
        },
        told: None,
        end: |_| {},
        peer: "10.32.1.0/24 ",
    },
    Row {
        name: "the run directory is lost while the agent runs",
        begin: |scene| {
            for file in ["state.db", "state.db-wal", "state.db-shm", "node.json"] {
                let _ = std::fs::remove_file(scene.machine.path("run").join(file));
            }
        },
        told: None,
        end: |_| {},
        peer: "10.32.1.0/24 ",
    },
];

fn annotate(scene: &Scene, node: &str, addresses: &str) {
    let patch = format!(r#"{{"metadata":{{"annotations":{{"naru.dev/node-addresses":{addresses}}}}}}}"#);
    scene.plane.run(&["patch", "node", node, "--type=merge", "-p", &patch], "").unwrap();
}

fn status(scene: &Scene, node: &str, patch: &str) {
    scene
        .plane
        .run(&["patch", "node", node, "--subresource=status", "--type=merge", "-p", patch], "")
        .unwrap();
}

fn cluster_check(scene: &Scene) -> (i32, Value) {
    let file = scene.kubeconfig();
    scene.machine.json(&["cluster", "check", "--kubeconfig", file.to_str().unwrap()])
}

fn told_of_cluster(scene: &Scene, code: &str) -> bool {
    cluster_check(scene).1.as_array().is_some_and(|found| found.iter().any(|finding| finding["code"] == code))
}

/// Nothing is found by anybody, or what is.
fn complaints(scene: &Scene) -> Option<String> {
    let cluster = cluster_check(scene);
    let (code, addresses) = scene.machine.outcome(&["ipam", "check"]);
    let findings = scene.status()["findings"].clone();
    let is_clean = cluster.0 == 0 && code == 0 && findings == json!([]);
    (!is_clean).then(|| format!("cluster: {cluster:?}; addresses: {addresses}; status: {findings}"))
}

#[test]
#[ignore = "needs root and Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
fn whatever_happens_to_the_cluster_is_told_while_it_lasts_and_leaves_nothing() {
    let scene = Scene::new();
    std::fs::create_dir_all(scene.machine.path("cni/bin")).unwrap();
    std::fs::write(scene.machine.path("cni/bin/naru-cni"), "").unwrap();
    let _agent = scene.agent();
    wait("readiness", PATIENCE, || scene.probe("ready"));
    let pod = Pod::new(&scene.machine, "stays", json!({}));
    let address = pod.add(&scene.machine)[0].split('/').next().unwrap().to_owned();
    for Row { name, begin, told, end, peer } in TABLE {
        println!("{name}");
        begin(&scene);
        match told {
            Some(Told::Status(code)) => drop(wait(code, PATIENCE, || !scene.findings(code).is_empty())),
            Some(Told::Cluster(code)) => drop(wait(code, PATIENCE, || told_of_cluster(&scene, code))),
            None => {}
        }
        end(&scene);
        let mut last = None;
        let since = std::time::Instant::now();
        while since.elapsed() < PATIENCE {
            last = complaints(&scene).or_else(|| (!scene.has(peer)).then(|| format!("{peer} is not there")));
            if last.is_none() {
                break;
            }
        }
        assert_eq!(last, None, "{name}");
        assert!(scene.probe("ready") && scene.probe("live"), "{name}");
        run(Command::new("nsenter")
            .arg(format!("--net={}", scene.machine.netns().display()))
            .args(["ping", "-c", "1", "-W", "5", &address]));
    }
    assert_eq!(
        pod.add(&scene.machine)[0].split('/').next().unwrap(),
        address,
        "a repeated ADD says the same"
    );
}
