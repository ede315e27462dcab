//! The cost of an ADD must not depend on the number of addresses that the node holds already.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod harness;

use std::{fs, time::Instant};

use harness::{Netns, Node};
use naru_core::{
    ids::AttachmentId,
    ipam::{AddressRequest, Domain},
};
use serde_json::{Value, json};

const HELD: usize = 10_000;
const ROUNDS: usize = 21;

/// An ADD from the start of its process to its exit.
#[derive(Clone, Copy)]
struct Cost {
    /// Bytes that it read: the store's pages, whether they are in a cache or not.
    read: f64,
    /// Seconds; they depend on what else the machine does, and are printed only.
    time: f64,
}

/// Bytes that this process and its children that have ended have read.
fn bytes_read() -> u64 {
    let text = fs::read_to_string("/proc/self/io").unwrap();
    text.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

/// The cost of an ADD; its DEL follows.
fn add(node: &Node, conf: &Value) -> Cost {
    let pod = Netns::new("pod");
    let (start, before) = (Instant::now(), bytes_read());
    node.call("ADD", "abc", pod.path().to_str().unwrap(), conf).ok();
    let cost = Cost { read: (bytes_read() - before) as f64, time: start.elapsed().as_secs_f64() };
    node.call("DEL", "abc", "", conf).ok();
    cost
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
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
    let rounds: Vec<(Cost, Cost)> =
        (0..ROUNDS).map(|_| (add(&empty, &empty_conf), add(&full, &full_conf))).collect();
    let ratio = |of: fn(&Cost) -> f64| median(rounds.iter().map(|(few, many)| of(many) / of(few)).collect());
    let (read, time) = (ratio(|cost| cost.read), ratio(|cost| cost.time));
    let bytes = median(rounds.iter().map(|(few, _)| few.read).collect());
    println!(
        "ADD with {HELD} addresses in use: {read:.3} of the {bytes} bytes read with none, {time:.2} of the time"
    );
    // A store of that many rows has two megabytes.
    assert!(read < 1.5, "an ADD reads {read:.2} times as much with {HELD} addresses in use");
}
