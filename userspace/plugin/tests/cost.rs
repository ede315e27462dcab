//! The cost of an ADD must not depend on the number of addresses that the node holds already.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod harness;

use std::time::{Duration, Instant};

use harness::{Netns, Node};
use naru_core::{
    ids::AttachmentId,
    ipam::{AddressRequest, Domain},
};
use serde_json::{Value, json};

const HELD: usize = 10_000;
const ROUNDS: usize = 21;

/// The time of an ADD, process start to exit, followed by its DEL.
fn add(node: &Node, conf: &Value) -> Duration {
    let pod = Netns::new("pod");
    let start = Instant::now();
    node.call("ADD", "abc", pod.path().to_str().unwrap(), conf).ok();
    let time = start.elapsed();
    node.call("DEL", "abc", "", conf).ok();
    time
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn ten_thousand_addresses_in_use_cost_an_add_nothing() {
    let (empty, full) = (Node::new(), Node::new());
    let conf = |node: &Node| {
        let mut conf = node.conf();
        conf["ipam"] = json!({ "subnet": "10.79.0.0/16" });
        conf
    };
    let (empty_conf, full_conf) = (conf(&empty), conf(&full));
    add(&empty, &empty_conf);
    add(&full, &full_conf);
    let mut store = full.store();
    for at in 0..HELD {
        let owner = AttachmentId::new("test", format!("held{at}"), "eth0").unwrap();
        store.reserve(&AddressRequest::new(Domain::naru(), "10.79.0.0/16", owner), 1).unwrap();
    }
    // The two take turns, so that other load on the machine meets both.
    let mut ratios: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let (few, many) = (add(&empty, &empty_conf), add(&full, &full_conf));
            many.as_secs_f64() / few.as_secs_f64()
        })
        .collect();
    ratios.sort_unstable_by(f64::total_cmp);
    println!(
        "ADD with {HELD} addresses in use takes {:.2} of one with none, by the median",
        ratios[ROUNDS / 2]
    );
    assert!(ratios[ROUNDS / 2] < 1.5, "{ratios:.2?}");
}
