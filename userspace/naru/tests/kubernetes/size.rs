//! The agent's memory by the size of the cluster.

use std::time::Instant;

use serde_json::{Value, json};

use crate::{
    PATIENCE,
    machine::{CLUSTER, Machine, pod::Pod, wait},
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

/// A cluster file with so many other nodes, each with a block of either family.
fn large(count: usize) -> String {
    let node = |at: usize| {
        let (high, low) = (at / 250 + 16, at % 250);
        format!(
            "[[node]]\nname = \"n{high}-{low}\"\naddresses = [\"192.168.{high}.{low}\", \"fd99::{high}:{low}\"]\n\
             blocks = [\"10.{}.{low}.0/24\", \"fd10:32::{high}:{low}:0/112\"]\n",
            48 + high
        )
    };
    (0..count).map(node).collect()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn five_thousand_routes_are_loaded_into_a_node_and_the_time_is_told() {
    let machine = Machine::new();
    machine.write_cluster(&CLUSTER.replace("10.32.0.0/12", "10.0.0.0/8"));
    machine.ok(&["init"]);
    for (nodes, times) in [(2_500, 1), (5_000, 1)] {
        machine.write_cluster(&(CLUSTER.replace("10.32.0.0/12", "10.0.0.0/8") + &large(nodes)));
        for round in 0..=times {
            let since = Instant::now();
            machine.ok(&["init"]);
            let what = if round == 0 { "loaded" } else { "compared again" };
            println!(
                "{nodes} nodes, a prefix of either family each, {what} by init: {:.2?}",
                since.elapsed()
            );
        }
        let routes = machine.kernel_routes().len();
        assert!(routes >= 2 * nodes, "{routes} routes");
    }
}
