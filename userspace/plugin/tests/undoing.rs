//! Kind 14 of the field cases: an attachment that cannot be undone. Whatever became of its configuration, its veth or
//! the plugin that gave its addresses, DEL takes it down and gives the addresses back, or says "try again".

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod harness;

use std::{fs, os::unix::fs::PermissionsExt};

use harness::{NODE, Netns, Node, Said};
use naru_core::ids::AttachmentId;
use naru_store::{DelegatedLease, NodeStore};
use serde_json::{Value, json};

const REFERENCE: &str = "/usr/lib/cni";

/// Keys of a configuration, and what somebody made of them between ADD and DEL. A path leads into objects.
fn changes() -> Vec<(&'static str, Value)> {
    vec![
        ("cniVersion", json!("9.9.9")),
        ("cniVersion", json!(5)),
        ("cniVersion", Value::Null),
        ("type", json!("naru")),
        ("naru/unknown", json!(1)),
        ("naru/antispoof", json!("nonsense")),
        ("naru/sourceCheck", json!(5)),
        ("naru/ipamTimeout", json!("soon")),
        ("naru/pool", json!({})),
        ("naru/allowOverlap", json!("yes")),
        ("naru/shortcut", json!([])),
        ("naru/configDir", json!(3)),
        ("ipam", Value::Null),
        ("ipam", json!([])),
        ("ipam", json!("naru-ipam")),
        ("ipam/type", json!("naru-ipm")),
        ("ipam/type", json!("host-local")),
        ("ipam/type", json!("../naru-ipam")),
        ("ipam/type", json!(7)),
        ("ipam/unknown", json!(1)),
        ("ipam/ranges", json!([[{ "subnet": "10.99.0.0/24" }]])),
        ("ipam/ranges", json!(7)),
        ("ipam/routes", json!("default")),
        ("mtu", json!("big")),
        ("ipMasq", json!("yes")),
        ("dns", json!(3)),
        ("prevResult", json!([])),
        ("runtimeConfig", json!(7)),
        ("args", json!("x")),
        ("capabilities", json!(1)),
        ("cni.dev/attachments", json!(3)),
        ("unknown", json!({})),
    ]
}

fn changed(conf: &Value, path: &str, value: Value) -> Value {
    let mut conf = conf.clone();
    match path.split_once('/').filter(|(object, _)| conf[*object].is_object()) {
        Some((object, key)) => conf[object][key] = value,
        None => conf[path] = value,
    }
    conf
}

fn noted(node: &Node) -> usize {
    NodeStore::open(&node.paths.node_store()).unwrap().delegated().unwrap().len()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_attachment_goes_whatever_became_of_any_key_of_its_configuration() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    for (path, value) in changes() {
        node.add("abc", &pod).ok();
        let held = node.held();
        let conf = changed(&node.conf(), path, value.clone());
        node.call("DEL", "abc", pod.path().to_str().unwrap(), &conf).ok();
        node.assert_clean();
        assert!(held.iter().all(|address| node.cooling().contains(address)), "{path} {value}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_del_that_cannot_tell_where_the_node_is_asks_to_be_tried_again() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    node.add("abc", &pod).ok();
    for (path, value) in [
        ("naru/runDir", json!(7)),
        ("naru/stateDir", json!("relative")),
        ("naru/bpfDir", json!([])),
        ("naru", json!("x")),
    ] {
        let conf = changed(&node.conf(), path, value);
        let (code, msg) = node.call("DEL", "abc", "", &conf).error();
        assert_eq!(code, 11, "{path}: {msg}");
        assert!(msg.starts_with("naru"), "{msg}");
    }
    assert!(pod.can_ping(NODE[0]));
    node.del("abc").ok();
    node.assert_clean();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_veth_goes_whatever_alias_or_name_somebody_gave_it() {
    let (node, pod, other) = (Node::new(), Netns::new("pod"), Netns::new("other"));
    node.add("other", &other).ok();
    let others = node.veths();
    let long = "x".repeat(250);
    let label = |container: &str| format!("naru1:test/{container}/eth0/77");
    let of_other = label("other");
    for alias in ["", "mine", "naru1:", "naru1:test/abc/eth0/x", &long, &of_other, &label("nobody")] {
        node.add("abc", &pod).ok();
        let veth = node.veths().into_iter().find(|name| !others.contains(name)).unwrap();
        node.netns.run("ip", &["link", "set", &veth, "alias", alias]);
        node.del("abc").ok();
        assert_eq!(
            (node.veths(), node.held().len(), node.entries().len()),
            (others.clone(), 2, 2),
            "{alias}"
        );
    }
    node.add("abc", &pod).ok();
    let veth = node.veths().into_iter().find(|name| !others.contains(name)).unwrap();
    for words in [&["link", "set", &veth, "down"][..], &["link", "set", &veth, "name", "renamed0"]] {
        node.netns.run("ip", words);
    }
    node.del("abc").ok();
    assert_eq!((node.veths(), node.held().len(), node.entries().len()), (others, 2, 2));
    assert!(other.can_ping(NODE[0]));
}

/// host-local in a directory of its own.
struct Lent {
    directory: tempfile::TempDir,
    conf: Value,
}

impl Lent {
    fn new(node: &Node) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ipam = json!({ "type": "host-local", "dataDir": directory.path(), "subnet": "10.88.0.0/24" });
        Self { conf: changed(&node.conf(), "ipam", ipam), directory }
    }

    fn call(&self, node: &Node, verb: &str, pod: &Netns, conf: &Value, path: &str) -> Said {
        node.call_with(verb, "abc", pod.path().to_str().unwrap(), conf, &[("CNI_PATH", path)])
    }

    fn leases(&self) -> usize {
        let files = fs::read_dir(self.directory.path().join("test")).into_iter().flatten().flatten();
        files.filter(|file| file.file_name().to_string_lossy().starts_with("10.88.")).count()
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_lease_returns_to_who_gave_it_whatever_the_configuration_says_now() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    let lent = Lent::new(&node);
    for (path, value) in changes().into_iter().chain([
        ("ipam/dataDir", json!("/nonexistent")),
        ("ipam/subnet", json!("10.89.0.0/24")),
        ("ipam", json!({ "type": "naru-ipam", "subnet": "10.77.0.0/24" })),
        ("ipam", json!({ "type": "static", "addresses": [{ "address": "10.90.0.1/24" }] })),
        ("ipam", json!({ "type": "host-locl" })),
    ]) {
        lent.call(&node, "ADD", &pod, &lent.conf, REFERENCE).ok();
        assert_eq!((lent.leases(), noted(&node)), (1, 1), "{path} {value}");
        let conf = changed(&lent.conf, path, value.clone());
        lent.call(&node, "DEL", &pod, &conf, REFERENCE).ok();
        assert_eq!((lent.leases(), noted(&node)), (0, 0), "{path} {value}");
        node.assert_clean();
    }
    lent.call(&node, "ADD", &pod, &lent.conf, REFERENCE).ok();
    lent.call(&node, "DEL", &pod, &lent.conf, "/nonexistent").ok();
    assert_eq!((lent.leases(), noted(&node)), (0, 0), "another CNI_PATH");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_slip_in_the_plugins_name_leaves_nothing_and_keeps_nothing_from_going() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    let lent = Lent::new(&node);
    lent.call(&node, "ADD", &pod, &lent.conf, REFERENCE).ok();
    lent.call(&node, "DEL", &pod, &lent.conf, REFERENCE).ok();
    for slip in ["host-locl", "naru-ipm", "naru-cni"] {
        let conf = changed(&lent.conf, "ipam/type", json!(slip));
        let (code, msg) = lent.call(&node, "ADD", &pod, &conf, REFERENCE).error();
        assert_eq!(code, 7, "{msg}");
        assert_eq!(noted(&node), 0, "{slip}: nothing was given");
        lent.call(&node, "DEL", &pod, &conf, REFERENCE).ok();
        // A version before this one noted it all the same.
        let lease = DelegatedLease {
            id: AttachmentId::new("test", "abc", "eth0").unwrap(),
            plugin: slip.to_owned(),
            conf: conf.to_string().into_bytes(),
            args: String::new(),
            path: REFERENCE.to_owned(),
            boot_id: node.boot.clone(),
            since: 1,
            result: None,
        };
        let note = || NodeStore::open(&node.paths.node_store()).unwrap().put_delegated(&lease).unwrap();
        for corrected in [node.conf(), lent.conf.clone()] {
            note();
            lent.call(&node, "DEL", &pod, &corrected, REFERENCE).ok();
            assert_eq!(noted(&node), 0, "{slip}: DEL");
            note();
            let mut collect = changed(&corrected, "cniVersion", json!("1.1.0"));
            collect["cni.dev/valid-attachments"] = json!([]);
            if corrected == node.conf() {
                lent.call(&node, "GC", &pod, &collect, REFERENCE).ok();
                assert_eq!(noted(&node), 0, "{slip}: GC");
            }
            note();
            lent.call(&node, "ADD", &pod, &corrected, REFERENCE).ok();
            lent.call(&node, "DEL", &pod, &corrected, REFERENCE).ok();
            assert_eq!((noted(&node), lent.leases()), (0, 0), "{slip}: ADD");
        }
    }
    node.assert_clean();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_lease_waits_for_a_plugin_that_gave_it_and_is_gone() {
    let (node, pod, bin) = (Node::new(), Netns::new("pod"), tempfile::tempdir().unwrap());
    let (file, asked) = (bin.path().join("lender"), bin.path().join("asked"));
    let script = format!(
        "#!/bin/sh\ncat > /dev/null\necho $CNI_COMMAND >> {}\n[ $CNI_COMMAND = ADD ] && \
         echo '{{\"cniVersion\":\"1.0.0\",\"ips\":[{{\"address\":\"10.66.0.9/24\"}}]}}'; exit 0\n",
        asked.display()
    );
    fs::write(&file, script).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let conf = changed(&node.conf(), "ipam", json!({ "type": "lender" }));
    let path = bin.path().to_str().unwrap().to_owned();
    let call = |verb: &str, conf: &Value| {
        node.call_with(verb, "abc", pod.path().to_str().unwrap(), conf, &[("CNI_PATH", &path)])
    };
    call("ADD", &conf).ok();
    let away = bin.path().join("away");
    fs::rename(&file, &away).unwrap();
    for conf in [&conf, &node.conf()] {
        let (code, msg) = call("DEL", conf).error();
        assert_eq!(code, 11, "{msg}");
        assert!(msg.contains("ipam lender"), "{msg}");
        node.assert_clean();
    }
    fs::rename(&away, &file).unwrap();
    call("DEL", &node.conf()).ok();
    assert_eq!((noted(&node), fs::read_to_string(&asked).unwrap().as_str()), (0, "ADD\nDEL\n"));
}
