//! Kinds 19 and 20: a request to a ready node is more than its name, and one network's request does not change
//! another's: a configuration's present values hold for the next ADD, or the ADD names the network that has other ones.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod harness;

use std::net::IpAddr;

use harness::{Netns, Node, addresses};
use serde_json::{Value, json};

fn network(node: &Node, name: &str, subnet: &str) -> Value {
    let mut conf = node.conf();
    conf["name"] = json!(name);
    conf["ipam"] = json!({ "subnet": subnet });
    conf
}

fn with(conf: &Value, key: &str, value: Value) -> Value {
    let mut conf = conf.clone();
    conf[key] = value;
    conf
}

fn masquerades(node: &Node, subnet: &str) -> bool {
    node.netns.run("nft", &["list", "set", "inet", "naru", "masquerade_v4"]).contains(subnet)
}

struct Pods<'a> {
    node: &'a Node,
    made: Vec<Netns>,
}

impl Pods<'_> {
    fn add(&mut self, conf: &Value) -> harness::Said {
        let pod = Netns::new("pod");
        let said =
            self.node.call("ADD", &format!("c{}", self.made.len()), pod.path().to_str().unwrap(), conf);
        self.made.push(pod);
        said
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_a_network_says_now_holds_for_the_next_add() {
    let node = Node::new();
    let mut pods = Pods { node: &node, made: Vec::new() };
    let conf = network(&node, "net", "10.22.0.0/24");
    pods.add(&conf).ok();
    assert!(!masquerades(&node, "10.22.0.0/24"));
    pods.add(&with(&conf, "ipMasq", json!(true))).ok();
    assert!(masquerades(&node, "10.22.0.0/24"));
    pods.add(&with(&conf, "ipMasq", json!(false))).ok();
    assert!(!masquerades(&node, "10.22.0.0/24"));
    // The gateway is a real machine from now on.
    let mut gateway = conf.clone();
    gateway["ipam"]["gateway"] = json!("10.22.0.77");
    gateway["runtimeConfig"] = json!({ "ips": ["10.22.0.77"] });
    let (code, msg) = pods.add(&gateway).error();
    assert!(code == 7 && msg.contains("10.22.0.77"), "{code} {msg}");
    let taken = with(&conf, "runtimeConfig", json!({ "ips": ["10.22.0.77"] }));
    assert_eq!(addresses(&pods.add(&taken).ok()), ["10.22.0.77"], "and no more when it is not");
    let moved = pods.add(&network(&node, "net", "10.23.0.0/24")).ok();
    assert!(addresses(&moved)[0].starts_with("10.23.0."), "{moved}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn two_networks_share_a_subnet_only_if_they_say_the_same_of_it() {
    let node = Node::new();
    let mut pods = Pods { node: &node, made: Vec::new() };
    let (one, two) = (network(&node, "one", "10.22.0.0/24"), network(&node, "two", "10.22.0.0/24"));
    pods.add(&one).ok();
    pods.add(&two).ok();
    let before = node.held();
    for conf in [&one, &two] {
        let name = conf["name"].as_str().unwrap();
        let other = if name == "one" { "two" } else { "one" };
        let mut gateway = conf.clone();
        gateway["ipam"]["gateway"] = json!("10.22.0.1");
        for (key, changed) in [("ipMasq", with(conf, "ipMasq", json!(true))), ("gateway", gateway)] {
            let (code, msg) = pods.add(&changed).error();
            assert!(code == 7, "{code} {msg}");
            for words in [format!("network {name}:"), format!("network {other} "), key.to_owned()] {
                assert!(msg.contains(&words), "{words}: {msg}");
            }
        }
    }
    assert_eq!(node.held(), before);
    pods.add(&one).ok();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_subnet_that_overlaps_another_networks_is_refused_and_both_go_on() {
    let node = Node::new();
    let mut pods = Pods { node: &node, made: Vec::new() };
    let one = network(&node, "one", "10.22.0.0/24");
    let own = addresses(&pods.add(&one).ok());
    for overlapping in ["10.22.0.0/25", "10.22.0.0/16", "10.22.0.128/28"] {
        let (code, msg) = pods.add(&network(&node, "two", overlapping)).error();
        assert!(code == 7 && msg.contains("network one"), "{overlapping}: {code} {msg}");
    }
    pods.add(&network(&node, "two", "10.24.0.0/24")).ok();
    let last = addresses(&pods.add(&one).ok());
    assert!(last[0].starts_with("10.22.0.") && last != own, "{last:?}");
    assert!(node.routed().contains(&own[0].parse::<IpAddr>().unwrap()));
}
