//! What an ADD costs must not depend on what the node holds already.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod harness;

use std::time::{Duration, Instant};

use harness::{Netns, Node};
use naru_core::{
    ids::AttachmentId,
    ipam::{Domain, Request},
};
use serde_json::{Value, json};

const HELD: usize = 10_000;
const ROUNDS: usize = 15;

/// The median time of an ADD, process start to exit.
fn median_add(node: &Node, conf: &Value) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let pod = Netns::new("pod");
            let start = Instant::now();
            node.call("ADD", "abc", pod.path().to_str().unwrap(), conf).ok();
            let time = start.elapsed();
            node.call("DEL", "abc", "", conf).ok();
            time
        })
        .collect();
    times.sort_unstable();
    times[ROUNDS / 2]
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn ten_thousand_addresses_in_use_cost_an_add_nothing() {
    let node = Node::new();
    let mut conf = node.conf();
    conf["ipam"] = json!({ "subnet": "10.79.0.0/16" });
    let empty = median_add(&node, &conf);
    let mut store = node.store();
    for at in 0..HELD {
        let owner = AttachmentId::new("test", format!("held{at}"), "eth0").unwrap();
        store.reserve(&Request::new(Domain::naru(), "10.79.0.0/16", owner), 1).unwrap();
    }
    let full = median_add(&node, &conf);
    println!("ADD: {empty:?} with no address in use, {full:?} with {HELD}");
    // The machine's own noise is far above what a growing cost could hide in: ten thousand rows read one by one take 10 ms.
    assert!(full < empty * 2 + Duration::from_millis(2), "{empty:?} became {full:?}");
}
