//! The agent's memory by the size of the cluster.

use serde_json::{Value, json};

use crate::{
    PATIENCE,
    machine::{pod::Pod, wait},
    scene::Scene,
};

/// A list of Node objects as large as those of real kubelets, ten kilobytes each.
fn many_nodes(numbers: std::ops::RangeInclusive<u16>) -> String {
    let images: Vec<Value> = (0..50)
        .map(|image| {
            let name = format!("registry.example/some/longer/path/of/an/image-{image:03}@sha256:{image:064}");
            json!({ "names": [name, format!("registry.example/image:{image}")], "sizeBytes": 123_456_789 })
        })
        .collect();
    let node = |number: u16| {
        let [high, low] = number.to_be_bytes();
        let block = format!("10.{}.{low}.0/24", 48 + u32::from(high));
        json!({
            "kind": "Node",
            "apiVersion": "v1",
            "metadata": { "name": format!("many{number:04}") },
            "spec": { "podCIDR": block, "podCIDRs": [block] },
            "status": {
                "addresses": [{ "type": "InternalIP", "address": format!("198.51.{}.{low}", 101 + u32::from(high)) }],
                "images": images,
            },
        })
    };
    json!({ "kind": "List", "apiVersion": "v1", "items": numbers.map(node).collect::<Vec<_>>() }).to_string()
}

#[test]
#[ignore = "needs root and Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
fn a_hundred_nodes_with_three_thousand_pods_fit_into_twenty_megabytes_and_a_thousand_into_forty() {
    let scene = Scene::new();
    // Thirty pods a node: those of other nodes cost an agent nothing, as it does not hear of them.
    let pods: Vec<Pod> =
        (0..30).map(|number| Pod::new(&scene.machine, &format!("p{number}"), json!({}))).collect();
    for (nodes, last, limit) in
        [(1..=98, "10.48.98.0/24 ", 20 << 20), (99..=1000, "10.51.232.0/24 ", 40 << 20)]
    {
        let (first, count) = (*nodes.start() == 1, *nodes.end());
        scene.plane.run(&["create", "-f", "-"], &many_nodes(nodes)).unwrap();
        let agent = scene.agent();
        wait("the last node", PATIENCE, || scene.has(last));
        if first {
            pods.iter().for_each(|pod| drop(pod.add(&scene.machine)));
        }
        let size = agent.resident();
        println!("resident with {count} nodes and 30 pods here: {:.1} MB", size as f64 / 1e6);
        assert!(size < limit, "{size} bytes with {count} nodes");
        assert!(agent.terminate());
    }
    pods.iter().for_each(|pod| pod.del(&scene.machine));
}
