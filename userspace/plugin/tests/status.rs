//! Kind 15: STATUS reports the result of the next ADD: an error if it would fail, none if it would work, and nothing
//! about damage that ADD repairs, because STATUS repairs it too.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod harness;

use harness::{Netns, Node};
use serde_json::{Value, json};

fn conf(node: &Node) -> Value {
    let mut conf = node.conf();
    conf["cniVersion"] = json!("1.1.0");
    conf
}

/// STATUS, then ADD: both fail or neither; the code of ADD.
#[track_caller]
fn agree(node: &Node, what: &str, conf: &Value) -> Option<u64> {
    let pod = Netns::new("pod");
    let status = node.call("STATUS", "", "", conf);
    let add = node.call("ADD", "one", pod.path().to_str().unwrap(), conf);
    node.call("DEL", "one", pod.path().to_str().unwrap(), conf).ok();
    assert_eq!(status.success, add.success, "{what}: STATUS {}; ADD {}", status.stdout, add.stdout);
    (!add.success).then(|| {
        let (code, _) = status.error();
        assert!([2, 5, 7, 50].contains(&code), "{what}: {code}");
        add.error().0
    })
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn status_and_the_next_add_agree_after_whatever_damage() {
    let node = Node::new();
    let conf = conf(&node);
    assert_eq!(agree(&node, "a machine that is no node yet", &conf), None);
    let (run, state) = (node.paths.run.display().to_string(), node.paths.state.display().to_string());
    let pins = node.paths.pins().root().display().to_string();
    for damage in [
        format!("rm {run}/state.db"),
        format!("printf damaged > {run}/state.db"),
        format!("truncate -s 100 {run}/state.db"),
        format!("rm {run}/node.json"),
        format!("printf '{{' > {run}/node.json"),
        format!("printf '{{' > {run}/ready.json"),
        format!("rm -r {pins}"),
        format!("rm {pins}/PODS {pins}/INTERFACES"),
        format!("rm -r {run}/state.db* {pins}"),
        "sysctl -qw net.ipv4.ip_forward=0".to_owned(),
        "ip route flush proto 150".to_owned(),
        "nft flush ruleset".to_owned(),
    ] {
        node.netns.run("sh", &["-c", &damage]);
        assert_eq!(agree(&node, &damage, &conf), None, "{damage}");
    }
    // Faults that only a person can repair.
    node.netns.run(
        "sh",
        &["-c", &format!("mv {state}/init.json {state}/away; mkdir {state}/init.json; rm {run}/node.json")],
    );
    assert!(agree(&node, "settings that cannot be read", &conf).is_some());
    node.netns.run("sh", &["-c", &format!("rmdir {state}/init.json; mv {state}/away {state}/init.json")]);
    assert_eq!(agree(&node, "settings that are back", &conf), None);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn status_and_the_next_add_agree_about_a_store_that_cannot_be_written() {
    let node = Node::new();
    let conf = conf(&node);
    assert_eq!(agree(&node, "at first", &conf), None);
    let run = node.paths.run.display().to_string();
    // A file that nobody may change, root included.
    harness::run("chattr", &["+i", &format!("{run}/state.db")]);
    let code = agree(&node, "a store that is read-only", &conf);
    harness::run("chattr", &["-i", &format!("{run}/state.db")]);
    assert_eq!(code, Some(11));
    assert_eq!(agree(&node, "a store that is back", &conf), None);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn status_and_add_agree_about_every_configuration() {
    let node = Node::new();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut conf = conf(&node);
        change(&mut conf);
        conf
    };
    for (what, conf, code) in [
        ("as it is", with(&|_| {}), None),
        ("an mtu too small for IPv6", with(&|conf| conf["mtu"] = json!(1200)), Some(7)),
        (
            "that mtu without IPv6",
            with(&|conf| {
                conf["mtu"] = json!(1200);
                conf["ipam"] = json!({ "subnet": "10.76.0.0/24" });
            }),
            None,
        ),
        (
            "a resolvConf that is not there",
            with(&|conf| conf["ipam"]["resolvConf"] = json!("/nowhere")),
            Some(5),
        ),
        (
            "a route in a table",
            with(&|conf| conf["ipam"]["routes"] = json!([{ "dst": "0.0.0.0/0", "table": 7 }])),
            Some(2),
        ),
        (
            "a pool that nobody made",
            with(&|conf| {
                conf["ipam"] = json!({});
                conf["naru"]["pool"] = json!("blue");
            }),
            Some(7),
        ),
        (
            "a subnet with the node's own address",
            with(&|conf| conf["ipam"] = json!({ "subnet": "192.0.2.0/24" })),
            Some(7),
        ),
        (
            "part of another network's subnet",
            with(&|conf| {
                conf["name"] = json!("other");
                conf["ipam"] = json!({ "subnet": "10.77.0.0/28" });
            }),
            Some(7),
        ),
        (
            "one address that is the gateway",
            with(&|conf| {
                conf["ipam"] = json!({ "subnet": "10.75.0.1/32", "gateway": "10.75.0.1" });
            }),
            Some(11),
        ),
    ] {
        assert_eq!(agree(&node, what, &conf), code, "{what}");
    }
}
