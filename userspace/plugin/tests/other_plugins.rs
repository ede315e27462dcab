//! The reference plugins on `naru-ipam`, and its store beside that of naru's own pods.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod harness;

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    thread,
};

use harness::{Netns, Node, PLUGIN, Said, addresses, speak};
use naru_core::{
    ipam::State,
    reconcile::{Pass, Policy},
};
use naru_node::{endpoint::reconcile, host, machine::NodeFacts};
use serde_json::{Value, json};

/// Directory of the reference plugins on Debian.
const REFERENCE: &str = "/usr/lib/cni";

/// A network of another main plugin on a node.
struct Lan {
    node: Node,
    conf: Value,
    bin: tempfile::TempDir,
}

impl Lan {
    fn new(more: &Value) -> Self {
        let node = Node::new();
        let bin = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(PLUGIN, bin.path().join("naru-ipam")).unwrap();
        let mut conf = json!({
            "cniVersion": "1.0.0", "name": "lan", "naru": {"runDir": node.paths.run},
            "ipam": {
                "type": "naru-ipam",
                "ranges": [[{"subnet": "10.78.0.0/24"}], [{"subnet": "fd78::/64"}]],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
            },
        });
        conf.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Self { node, conf, bin }
    }

    fn call(&self, program: &Path, verb: &str, container: &str, netns: &str, conf: &Value) -> Said {
        let path = format!("{}:{REFERENCE}", self.bin.path().display());
        let environment = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", container),
            ("CNI_IFNAME", "eth0"),
            ("CNI_NETNS", netns),
            ("CNI_PATH", &path),
            ("NARU_BOOT_ID", &self.node.boot),
        ];
        let command = self.node.netns.command(program.to_str().unwrap());
        speak(command, &environment, conf.to_string().as_bytes())
    }

    /// Calls the network's main plugin.
    fn main(&self, verb: &str, container: &str, pod: &Netns, conf: &Value) -> Said {
        let program = Path::new(REFERENCE).join(conf["type"].as_str().unwrap());
        self.call(&program, verb, container, pod.path().to_str().unwrap(), conf)
    }

    /// Calls `naru-ipam` as a main plugin would.
    fn ipam(&self, verb: &str, container: &str, netns: &str) -> Said {
        self.call(&self.bin.path().join("naru-ipam"), verb, container, netns, &self.conf)
    }
}

/// Checks that two containers of the network get addresses, communicate, pass CHECK and give everything back.
fn carries_traffic(lan: &Lan) {
    let pods = [Netns::new("one"), Netns::new("two")];
    let results: Vec<Value> =
        pods.iter().map(|pod| lan.main("ADD", &pod.name, pod, &lan.conf).ok()).collect();
    assert_eq!(addresses(&results[0]), ["10.78.0.2", "fd78::2"]);
    assert_eq!(addresses(&results[1]), ["10.78.0.3", "fd78::3"]);
    for address in ["10.78.0.3", "fd78::3"] {
        pods[0].run("ping", &["-n", "-c", "1", "-W", "5", address]);
        assert_eq!(streamed(&pods[0], &pods[1], address), 1 << 20, "{address}");
    }
    for (pod, result) in pods.iter().zip(results) {
        let mut conf = lan.conf.clone();
        conf["prevResult"] = result;
        lan.main("CHECK", &pod.name, pod, &conf).ok();
        lan.main("DEL", &pod.name, pod, &conf).ok();
    }
    assert!(lan.node.held().is_empty());
}

/// The number of bytes that arrive of a stream of 1 MiB.
fn streamed(from: &Netns, to: &Netns, address: &str) -> usize {
    let listener = to.inside(|| TcpListener::bind((address, 7000))).unwrap();
    thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let mut bytes = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut bytes).unwrap()
        });
        from.inside(|| TcpStream::connect((address, 7000)).unwrap().write_all(&vec![7; 1 << 20])).unwrap();
        receiver.join().unwrap()
    })
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_reference_bridge_runs_on_naru_ipam() {
    carries_traffic(&Lan::new(&json!({"type": "bridge", "bridge": "lan0", "isGateway": true})));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_reference_ptp_runs_on_naru_ipam() {
    let lan = Lan::new(&json!({"type": "ptp"}));
    for key in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
        lan.node.netns.run("sysctl", &["-qw", key]);
    }
    carries_traffic(&lan);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_reference_macvlan_runs_on_naru_ipam() {
    carries_traffic(&Lan::new(&json!({"type": "macvlan", "master": "up0", "mode": "bridge"})));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_container_made_anew_under_its_old_name_gets_another_address() {
    let lan = Lan::new(&json!({"type": "bridge"}));
    let (old, new) = (Netns::new("old"), Netns::new("new"));
    let add = |pod: &Netns| addresses(&lan.ipam("ADD", "c1", pod.path().to_str().unwrap()).ok());
    assert_eq!((add(&old), add(&old)), (vec!["10.78.0.2".into(), "fd78::2".into()], add(&old)));
    assert_eq!(add(&new), ["10.78.0.3", "fd78::3"]);
    assert_eq!(lan.node.held().len(), 2);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_address_whose_namespace_is_gone_is_freed_by_the_second_pass() {
    let lan = Lan::new(&json!({"type": "bridge"}));
    let (own, dead, live) = (Netns::new("own"), Netns::new("dead"), Netns::new("live"));
    lan.node.add("own", &own).ok();
    for (container, pod) in [("dead", &dead), ("live", &live)] {
        lan.ipam("ADD", container, pod.path().to_str().unwrap()).ok();
    }
    drop(dead);
    let policy = Policy { gap: 0, unconfirmed_age: 0, prepared_age: 0 };
    let facts = NodeFacts::load(&lan.node.paths).unwrap().unwrap();
    let mut seen = Pass::default();
    for left in [6, 4] {
        seen = lan
            .node
            .netns
            .inside(|| reconcile::pass(&mut lan.node.tools(), &facts, policy, &seen, host::now()).unwrap().1);
        assert_eq!(lan.node.held().len(), left);
    }
    let rows = lan.node.store().rows().unwrap();
    let mut owners: Vec<String> = rows
        .into_iter()
        .filter(|row| row.state == State::Assigned)
        .filter_map(|row| row.owner.map(|owner| owner.container().to_owned()))
        .collect();
    owners.sort();
    assert_eq!(owners, ["live", "live", "own", "own"]);
}

/// Whichever plugin makes the store, the live pods are in it before naru-cni gives out the next address.
fn lost_store(files: &[&str]) {
    let lan = Lan::new(&json!({"type": "bridge"}));
    let (first, second) = (Netns::new("first"), Netns::new("second"));
    let given = addresses(&lan.node.add("first", &first).ok());
    for file in files {
        fs::remove_file(lan.node.paths.run.join(file)).unwrap();
    }
    lan.ipam("ADD", "c1", "/nonexistent").ok();
    let next = addresses(&lan.node.add("second", &second).ok());
    assert!(next.iter().all(|address| !given.contains(address)), "{next:?} after {given:?}");
    let held: Vec<String> = lan.node.held().iter().map(ToString::to_string).collect();
    assert!(given.iter().all(|address| held.contains(address)), "{given:?} not in {held:?}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_store_that_naru_ipam_made_anew_learns_the_pods_that_live_before_the_next_add() {
    lost_store(&["state.db"]);
    lost_store(&["state.db", "node.json"]);
}
