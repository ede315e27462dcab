//! Rate limits of the reference bandwidth plugin, across nodes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking, their helpers too")]

use std::process::Command;

use naru_e2e::{
    cni::TestPod,
    lab::{Lab, Node},
    probe::{Host, tcp},
    tool,
};
use serde_json::{Value, json};

const MEGABYTE: u64 = 1_000_000;

/// 1 MB/s to the pod, 2 MB/s from it.
fn rates() -> Value {
    json!({ "bandwidth": {
        "ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 16_000_000, "egressBurst": 1_600_000,
    } })
}

/// Debian's bandwidth plugin behind naru-cni.
fn limit(node: &Node, pod: &TestPod) {
    let result: Value = serde_json::from_str(&pod.call("ADD").unwrap()).unwrap();
    let conf = json!({
        "cniVersion": result["cniVersion"], "name": "naru", "type": "bandwidth", "runtimeConfig": rates(),
        "prevResult": result,
    });
    let mut plugin = Command::new("/usr/lib/cni/bandwidth");
    plugin.env("CNI_COMMAND", "ADD").env("CNI_CONTAINERID", "limited").env("CNI_IFNAME", "eth0");
    plugin.env("CNI_NETNS", pod.netns().path()).env("CNI_PATH", "/usr/lib/cni");
    tool::output(&node.open().unwrap(), &mut plugin, &conf.to_string()).and_then(tool::text).unwrap();
}

/// The rate of a stream of so many bytes, in bytes a second.
fn rate(from: &Host, to: &Host, bytes: u64) -> f64 {
    let report = tcp::stream(from, to, bytes, 0).unwrap();
    report.bytes as f64 / report.took.as_secs_f64()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn both_rate_limits_hold_across_nodes_in_both_families() {
    let lab = Lab::up("--families dual --underlay dual").unwrap();
    // The node's list has no bandwidth plugin; the test runs it, as a list that has one would.
    let wish = json!({ "runtimeConfig": rates(), "naru": { "unserved": [] } });
    let limited = TestPod::add(&lab, "n1", "limited", &wish).unwrap();
    limit(lab.node("n1").unwrap(), &limited);
    let megabytes = |rate: f64| rate / MEGABYTE as f64;
    for v6 in [false, true] {
        let (pod, far) = (limited.host(v6).unwrap(), lab.must_host("p2-1", v6).unwrap());
        let to_pod = megabytes(rate(&far, &pod, 3 * MEGABYTE));
        assert!((0.5..1.5).contains(&to_pod), "{to_pod} MB/s to the pod, limit 1, IPv6 {v6}");
        let from_pod = megabytes(rate(&pod, &far, 6 * MEGABYTE));
        assert!((1.0..3.0).contains(&from_pod), "{from_pod} MB/s from the pod, limit 2, IPv6 {v6}");
        let other = lab.must_host("p1-1", v6).unwrap();
        let free = megabytes(rate(&other, &far, 100 * MEGABYTE));
        assert!(free > 10.0, "{free} MB/s of a pod without a limit, IPv6 {v6}");
    }
}
