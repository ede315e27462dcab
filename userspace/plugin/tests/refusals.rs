//! Kind 8 of the field cases: a destructive act on missing or foreign input. A verb with too little input refuses, and
//! nothing is changed.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod harness;

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use harness::{NODE, Netns, Node, PLUGIN, Said, ipam::Ipam, speak};
use naru_store::NodeStore;
use serde_json::{Value, json};

const KEYS: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];

/// An IPAM plugin that gives one address and records its calls.
struct Scribe(tempfile::TempDir);

impl Scribe {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let script = "#!/bin/sh\ncd \"$(dirname \"$0\")\"; [ $CNI_COMMAND = VERSION ] || \
            { echo \"$CNI_COMMAND [$CNI_NETNS]\" >> asked; cat > stdin.$CNI_COMMAND; }\n\
            case $CNI_COMMAND in\nADD) echo '{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"10.66.0.9/24\"}]}';;\n\
            VERSION) echo '{\"supportedVersions\":[\"1.0.0\",\"1.1.0\"]}';;\nesac\n";
        let file = directory.path().join("scribe");
        fs::write(&file, script).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        Self(directory)
    }

    fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    fn asked(&self) -> Vec<String> {
        let text = fs::read_to_string(self.0.path().join("asked")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn stdin(&self, verb: &str) -> Value {
        serde_json::from_slice(&fs::read(self.0.path().join(format!("stdin.{verb}"))).unwrap()).unwrap()
    }
}

/// Links, addresses, routes and neighbours of the node, except parts that change by themselves.
fn snapshot(node: &Node) -> Vec<String> {
    let look = |args: &[&str]| node.netns.run("ip", args);
    [
        look(&["-o", "link"]),
        look(&["-o", "address"]),
        look(&["-4", "route", "show", "table", "all"]),
        look(&["-6", "route", "show", "table", "all"]),
    ]
    .into()
}

/// Every way in which a runtime may name the node's own namespace.
fn own_paths(node: &Node) -> Vec<PathBuf> {
    let link = node.paths.run.with_file_name("link-to-netns");
    if !link.exists() {
        symlink(node.netns.path(), &link).unwrap();
    }
    vec!["/proc/self/ns/net".into(), "/proc/thread-self/ns/net".into(), node.netns.path(), link]
}

fn by_name(node: &Node, name: &str, verb: &str, netns: &Path, conf: &Value) -> Said {
    let program = node.paths.run.with_file_name(name);
    if !program.exists() {
        symlink(PLUGIN, &program).unwrap();
    }
    let run = node.paths.run.to_str().unwrap();
    let environment = [
        ("CNI_COMMAND", verb),
        ("CNI_CONTAINERID", "own"),
        ("CNI_IFNAME", "eth7"),
        ("CNI_NETNS", netns.to_str().unwrap()),
        ("CNI_PATH", "/opt/cni/bin"),
        ("NARU_RUN_DIR", run),
        ("NARU_BOOT_ID", &node.boot),
    ];
    speak(node.netns.command(program.to_str().unwrap()), &environment, conf.to_string().as_bytes())
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn nothing_is_attached_in_the_namespace_that_the_plugin_runs_in() {
    let (node, pod, scribe) = (Node::new(), Netns::new("pod"), Scribe::new());
    node.add("abc", &pod).ok();
    let (before, held) = (snapshot(&node), node.held());
    let mut lent = node.conf();
    lent["ipam"] = json!({ "type": "scribe" });
    for path in own_paths(&node) {
        for (name, verbs, conf) in [
            ("naru-cni", &["ADD", "CHECK"][..], node.conf()),
            ("naru-cni", &["ADD", "CHECK"], lent.clone()),
            ("naru-ipam", &["ADD", "CHECK"], node.conf()),
            ("loopback", &["ADD"], node.conf()),
        ] {
            for verb in verbs {
                let (code, msg) = by_name(&node, name, verb, &path, &conf).error();
                assert_eq!(code, 8, "{name} {verb} {}: {msg}", path.display());
                assert!(msg.starts_with("CNI_NETNS: "), "{msg}");
            }
        }
    }
    assert_eq!((snapshot(&node), node.held(), scribe.asked()), (before, held, Vec::new()));
    assert!(pod.can_ping(NODE[0]));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn whoever_says_so_may_attach_in_the_plugins_own_namespace() {
    let node = Node::new();
    let mut conf = node.conf();
    conf["ipam"]["routes"] = json!([{ "dst": "203.0.113.0/24" }]);
    let own = [("CNI_NETNS_OVERRIDE", "1"), ("CNI_IFNAME", "eth7")];
    node.call_with("ADD", "own", "/proc/self/ns/net", &conf, &own).ok();
    assert_eq!(node.veths().len(), 2, "both ends");
    node.call_with("DEL", "own", "/proc/self/ns/net", &conf, &own).ok();
    node.assert_clean();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_container_whose_process_id_is_the_nodes_by_now_is_taken_down_without_touching_the_node() {
    let (node, pod, scribe) = (Node::new(), Netns::new("pod"), Scribe::new());
    let mut lent = node.conf();
    lent["ipam"] = json!({ "type": "scribe" });
    for conf in [node.conf(), lent] {
        let call = |verb: &str, netns: &str| {
            node.call_with(verb, "abc", netns, &conf, &[("CNI_PATH", scribe.path())])
        };
        call("ADD", pod.path().to_str().unwrap()).ok();
        let links = |node: &Node| node.netns.run("ip", &["-o", "link", "show", "type", "bridge"]);
        let before = links(&node);
        call("DEL", "/proc/self/ns/net").ok();
        node.assert_clean();
        assert_eq!(links(&node), before);
    }
    assert_eq!(scribe.asked()[1..], ["DEL []"], "nobody is to tidy up in the node's namespace");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn gc_without_its_list_takes_nothing_down_by_any_plugin() {
    let (node, pod, lent, scribe) = (Node::new(), Netns::new("pod"), Netns::new("lent"), Scribe::new());
    let mut conf = node.conf();
    conf["cniVersion"] = json!("1.1.0");
    let mut other = conf.clone();
    (other["ipam"], other["name"]) = (json!({ "type": "scribe" }), json!("other"));
    let call = |verb: &str, container: &str, pod: &Netns, conf: &Value| {
        let path = [("CNI_PATH", scribe.path())];
        node.call_with(verb, container, pod.path().to_str().unwrap(), conf, &path)
    };
    call("ADD", "abc", &pod, &conf).ok();
    call("ADD", "lent", &lent, &other).ok();
    for conf in [&conf, &other] {
        for (key, value) in [(KEYS[0], Value::Null), (KEYS[1], Value::Null), ("cni.dev/valid", json!([]))] {
            let mut conf = conf.clone();
            conf[key] = value;
            let (code, msg) = call("GC", "", &pod, &conf).error();
            assert_eq!(code, 7, "{msg}");
            assert!(msg.starts_with("cni.dev/valid-attachments: missing"), "{msg}");
        }
        let (code, _) = by_name(&node, "naru-ipam", "GC", Path::new(""), &node_ipam(conf)).error();
        assert_eq!(code, 7);
    }
    assert_eq!((node.veths().len(), scribe.asked().len()), (2, 1));
    assert!(pod.can_ping(NODE[0]) && lent.can_ping(NODE[0]));
    assert_eq!(NodeStore::open(&node.paths.node_store()).unwrap().delegated().unwrap().len(), 1);
}

/// The same configuration for naru-ipam.
fn node_ipam(conf: &Value) -> Value {
    let mut conf = conf.clone();
    conf["ipam"] = json!({ "type": "naru-ipam", "subnet": "10.99.0.0/24" });
    conf
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn gc_understands_the_older_key_and_an_empty_list() {
    let (node, kept, stale, scribe) = (Node::new(), Netns::new("kept"), Netns::new("stale"), Scribe::new());
    let mut conf = node.conf();
    conf["cniVersion"] = json!("1.1.0");
    let gc = |key: &str, list: Value| {
        let mut conf = conf.clone();
        conf[key] = list;
        node.call("GC", "", "", &conf).ok();
    };
    node.add("kept", &kept).ok();
    node.add("stale", &stale).ok();
    gc(KEYS[1], json!([{ "containerID": "kept", "ifname": "eth0" }]));
    assert_eq!((node.veths().len(), kept.can_ping(NODE[0])), (1, true));
    gc(KEYS[1], json!([]));
    node.assert_clean();
    // Another plugin may know the newer key only.
    (conf["ipam"], conf[KEYS[1]]) = (json!({ "type": "scribe" }), json!([]));
    node.call_with("GC", "", "", &conf, &[("CNI_PATH", scribe.path())]).ok();
    assert_eq!(scribe.stdin("GC")[KEYS[0]], json!([]));
}

#[test]
fn gc_of_naru_ipam_asks_for_its_list_too() {
    let ipam = Ipam::new();
    let mut conf = json!({ "cniVersion": "1.1.0", "name": "lan", "type": "bridge",
        "ipam": { "type": "naru-ipam", "subnet": "10.1.2.0/24" } });
    ipam.add("c1", &conf).ok();
    assert_eq!(ipam.call("GC", "", &conf).error().0, 7);
    assert_eq!(ipam.held().len(), 1);
    conf[KEYS[1]] = json!([]);
    std::thread::sleep(std::time::Duration::from_millis(2));
    ipam.call("GC", "", &conf).ok();
    assert_eq!(ipam.held().len(), 0);
}
