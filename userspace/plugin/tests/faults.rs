//! The leftovers when a step fails, when the process dies in it, and when state or kernel objects go away.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod harness;

use std::{fs, net::IpAddr, path::Path};

use harness::{NODE, Netns, Node, addresses};
use naru_abi::{
    Addr, FlowKey, FlowValue,
    pod_flags::{RECEIVES_ANSWERS, SENDS_ANSWERS},
};
use naru_bpf::Pods;
use naru_core::reconcile::{Pass, Policy};
use naru_node::{endpoint::reconcile, host, machine::NodeFacts};
use serde_json::json;

const STEPS: [&str; 9] = [
    "unwire",
    "reserve",
    "create-pair",
    "purge",
    "enter-maps",
    "attach-filters",
    "activate",
    "wire-pod",
    "confirm",
];
const ENDS: [&str; 4] = ["detach-maps", "detach-link", "detach-flows", "detach-release"];
/// Places in a transaction of the store at which a process may be killed.
const STORE: [&str; 3] = ["store-begun", "store-commit", "store-committed"];

fn path(pod: &Netns) -> String {
    pod.path().to_str().unwrap().to_owned()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_step_that_fails_leaves_nothing() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    // The first ADD makes the node ready.
    node.add("first", &pod).ok();
    node.del("first").ok();
    for step in STEPS {
        let asked = format!("fail:{step}");
        let said = node.call_with("ADD", "abc", &path(&pod), &node.conf(), &[("NARU_FAILPOINT", &asked)]);
        let (code, msg) = said.error();
        assert_eq!(code, 100, "{step}");
        assert!(msg.contains(step), "{msg}");
        node.assert_clean();
        assert_eq!(pod.ip(&["link", "show", "type", "veth"]), json!([]), "{step}");
        node.del("abc").ok();
    }
    node.add("abc", &pod).ok();
    assert!(pod.can_ping(NODE[0]));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_kill_in_any_step_of_add_is_healed_by_the_next_add() {
    let node = Node::new();
    node.add("first", &Netns::new("first")).ok();
    node.del("first").ok();
    for step in STEPS {
        let pod = Netns::new("pod");
        let asked = format!("kill:{step}");
        let said = node.call_with("ADD", "abc", &path(&pod), &node.conf(), &[("NARU_FAILPOINT", &asked)]);
        assert!(said.signal, "{step}: {said:?}");
        let result = node.add("abc", &pod).ok();
        assert_eq!((node.veths().len(), node.entries().len(), node.held().len()), (1, 2, 2), "{step}");
        assert_eq!(addresses(&result).len(), 2);
        assert!(pod.can_ping(NODE[0]) && pod.can_ping(NODE[1]), "{step}");
        node.del("abc").ok();
        node.assert_clean();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_kill_in_any_step_leaves_no_duplicate_and_after_two_passes_no_leak() {
    let (node, other) = (Node::new(), Netns::new("other"));
    let other_addresses = addresses(&node.add("other", &other).ok());
    for step in STEPS.into_iter().chain(STORE) {
        let pod = Netns::new("pod");
        let asked = format!("kill:{step}");
        let said = node.call_with("ADD", "abc", &path(&pod), &node.conf(), &[("NARU_FAILPOINT", &asked)]);
        assert!(said.signal, "{step}");
        drop(pod);
        node.reconcile_until((1, 2, 2));
        let held: Vec<String> = node.held().iter().map(ToString::to_string).collect();
        assert_eq!(held, other_addresses, "{step}");
    }
    assert!(other.can_ping(NODE[0]));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_the_maps_know_of_an_interface_goes_two_passes_after_it_and_not_while_it_is_there() {
    let (node, pod, dead) = (Node::new(), Netns::new("pod"), Netns::new("dead"));
    node.add("abc", &pod).ok();
    let entered = node.entered();
    node.add("dead", &dead).ok();
    assert_eq!(node.entered().len(), 2);
    drop(dead);
    node.reconcile_until((1, 2, 2));
    assert_eq!(node.entered(), entered);
    // A veth without its alias does not look like naru's, but the pod's packets still come from there.
    node.netns.run("ip", &["link", "set", &node.veths()[0], "alias", "of somebody"]);
    let facts = NodeFacts::load(&node.paths).unwrap().unwrap();
    let mut memory = Pass::default();
    for round in 0..3 {
        let policy = Policy { gap: 0, unconfirmed_age: 0, prepared_age: 0 };
        let pass = || reconcile::pass(&mut node.tools(), &facts, policy, &memory, round).unwrap().1;
        memory = node.netns.inside(pass);
    }
    assert_eq!(node.entered(), entered);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pass_ends_the_cooling_of_addresses_though_nobody_asks_for_one() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    node.add("abc", &pod).ok();
    node.del("abc").ok();
    let facts = NodeFacts::load(&node.paths).unwrap().unwrap();
    let since = node.store().rows().unwrap().iter().map(|row| row.since).max().unwrap();
    let pass = |now| {
        node.netns.inside(|| {
            let mut tools = node.tools();
            reconcile::pass(&mut tools, &facts, Policy::default(), &Pass::default(), now).unwrap().0
        })
    };
    assert_eq!(pass(since + 29_000).cooled, 0);
    assert_eq!(node.cooling().len(), 2);
    assert_eq!(pass(since + 30_000).cooled, 2);
    assert_eq!(node.cooling().len(), 0);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_kill_while_an_attachment_moves_leaves_no_cooling_address_at_a_live_interface() {
    let node = Node::new();
    for step in STEPS {
        let (before, after) = (Netns::new("before"), Netns::new("after"));
        node.add("abc", &before).ok();
        let asked = format!("kill:{step}");
        let said = node.call_with("ADD", "abc", &path(&after), &node.conf(), &[("NARU_FAILPOINT", &asked)]);
        assert!(said.signal, "{step}: {said:?}");
        for address in node.cooling() {
            assert!(!node.entries().contains(&address), "{step}: {address} is in the map");
            assert!(!node.routed().contains(&address), "{step}: {address} is routed");
        }
        node.add("abc", &after).ok();
        assert_eq!((node.veths().len(), node.entries().len(), node.held().len()), (1, 2, 2), "{step}");
        assert_eq!(before.ip(&["link", "show", "type", "veth"]), json!([]), "{step}");
        assert!(after.can_ping(NODE[0]) && after.can_ping(NODE[1]), "{step}");
        node.del("abc").ok();
        node.assert_clean();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_kill_in_any_step_of_del_is_healed_by_the_next_del() {
    let node = Node::new();
    for step in ENDS.into_iter().chain(STORE) {
        let pod = Netns::new("pod");
        node.add("abc", &pod).ok();
        let asked = format!("kill:{step}");
        let said = node.call_with("DEL", "abc", "", &node.conf(), &[("NARU_FAILPOINT", &asked)]);
        assert!(said.signal, "{step}");
        node.del("abc").ok();
        node.assert_clean();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pass_restores_nothing_of_a_pair_whose_add_died_though_one_before_it_was_confirmed() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    node.add("abc", &pod).ok();
    let facts = NodeFacts::load(&node.paths).unwrap().unwrap();
    for (verb, step) in [("DEL", "detach-release"), ("ADD", "activate")] {
        let asked = format!("kill:{step}");
        let said = node.call_with(verb, "abc", &path(&pod), &node.conf(), &[("NARU_FAILPOINT", &asked)]);
        assert!(said.signal, "{verb}: {said:?}");
    }
    let (entries, pass) = (node.entries(), || {
        reconcile::pass(&mut node.tools(), &facts, Policy::default(), &Pass::default(), host::now())
    });
    let (report, _) = node.netns.inside(pass).unwrap();
    assert!(report.failed.is_empty() && report.done.is_empty(), "{report:?}");
    assert_eq!(node.entries(), entries);
    node.add("abc", &pod).ok();
    assert!(pod.can_ping(NODE[0]) && pod.can_ping(NODE[1]));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_entry_that_is_made_again_knows_which_answers_its_pod_sends_and_receives() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    node.add("abc", &pod).ok();
    let facts = NodeFacts::load(&node.paths).unwrap().unwrap();
    let other =
        |own: IpAddr| -> IpAddr { if own.is_ipv4() { "10.9.9.9" } else { "fd99::9" }.parse().unwrap() };
    let mut tools = node.netns.inside(|| node.tools());
    for own in node.entries() {
        let other = Addr::from(other(own));
        let before = tools.maps.pods.get(own).unwrap().unwrap();
        let ways = [(own.into(), other, SENDS_ANSWERS), (other, own.into(), RECEIVES_ANSWERS)];
        for (source, destination, mark) in ways {
            let key = FlowKey::between(source, destination, 17);
            tools.maps.records.flows.insert(&key, FlowValue { last_seen: 1 }).unwrap();
            tools.maps.pods.delete(own).unwrap();
            let pass =
                || reconcile::pass(&mut tools, &facts, Policy::default(), &Pass::default(), host::now());
            let (report, _) = node.netns.inside(pass).unwrap();
            assert!(report.failed.is_empty(), "{report:?}");
            let again = tools.maps.pods.get(own).unwrap().unwrap();
            assert_eq!(again, before.with_marks(mark), "{own}");
            tools.maps.records.flows.delete(&key).unwrap();
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_kill_in_any_step_of_gc_is_healed_by_the_next_gc_or_by_two_passes() {
    let (node, kept) = (Node::new(), Netns::new("kept"));
    let kept_addresses = addresses(&node.add("kept", &kept).ok());
    let mut conf = node.conf();
    conf["cniVersion"] = json!("1.1.0");
    conf["cni.dev/valid-attachments"] = json!([{"containerID": "kept", "ifname": "eth0"}]);
    for step in ENDS.into_iter().chain(STORE) {
        for heals in ["gc", "passes"] {
            let pods = [Netns::new("one"), Netns::new("two")];
            node.add("one", &pods[0]).ok();
            node.add("two", &pods[1]).ok();
            std::thread::sleep(std::time::Duration::from_millis(2));
            let asked = format!("kill:{step}");
            assert!(node.call_with("GC", "", "", &conf, &[("NARU_FAILPOINT", &asked)]).signal, "{step}");
            if heals == "gc" {
                node.call("GC", "", "", &conf).ok();
            }
            drop(pods);
            node.reconcile_until((1, 2, 2));
            let held: Vec<String> = node.held().iter().map(ToString::to_string).collect();
            assert_eq!(held, kept_addresses, "{step}, {heals}");
        }
    }
    assert!(kept.can_ping(NODE[0]) && kept.can_ping(NODE[1]));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn after_a_reboot_the_next_add_makes_the_node_ready() {
    let mut node = Node::new();
    node.add("abc", &Netns::new("before")).ok();
    node.unmount();
    fs::remove_dir_all(&node.paths.run).unwrap();
    for veth in node.veths() {
        // The kernel takes the namespace down in its own time, and the veth with it.
        node.netns.succeeds("ip", &["link", "del", &veth]);
    }
    node.boot = "boot-2".to_owned();
    let pod = Netns::new("pod");
    node.add("abc", &pod).ok();
    assert_eq!((node.entries().len(), node.held().len()), (2, 2));
    assert!(pod.can_ping(NODE[0]));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn pods_live_on_when_bpffs_and_run_directory_go_away() {
    let mut node = Node::new();
    let (old, new) = (Netns::new("old"), Netns::new("new"));
    let kept = addresses(&node.add("old", &old).ok());
    node.unmount();
    fs::remove_dir_all(&node.paths.run).unwrap();
    node.boot = "boot-2".to_owned();
    let given = addresses(&node.add("new", &new).ok());
    assert!(kept.iter().all(|address| !given.contains(address)), "{kept:?} {given:?}");
    for address in &kept {
        assert!(new.can_ping(address), "{address} {:?} {:?}", node.entries(), node.held());
    }
    assert!(old.can_ping(NODE[0]));
    node.del("old").ok();
    node.del("new").ok();
    node.assert_clean();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_subnet_that_was_changed_in_the_configuration_gives_way_and_its_pods_live_on() {
    let (node, old, new) = (Node::new(), Netns::new("old"), Netns::new("new"));
    let kept = addresses(&node.add("old", &old).ok());
    let mut conf = node.conf();
    conf["ipam"] = json!({ "ranges": [[{ "subnet": "10.77.0.0/20" }]] });
    let given = addresses(&node.call("ADD", "new", &path(&new), &conf).ok());
    assert_eq!(given.len(), 1, "the configuration has no IPv6 any more");
    assert!(new.can_ping(&kept[0]) && old.can_ping(&given[0]) && old.can_ping(NODE[1]));
    let ranges = node.store().ranges().unwrap();
    let of = |draining| ranges.iter().filter(|r| r.draining == draining).map(|r| r.net.to_string()).collect();
    let (draining, active): (Vec<String>, Vec<String>) = (of(true), of(false));
    assert_eq!((draining.len(), active), (2, vec!["10.77.0.0/20".to_owned()]), "{draining:?}");
    node.del("old").ok();
    node.del("new").ok();
    node.assert_clean();
}

/// Returns true if the pod is heard with another MAC address; its own one is back afterwards.
fn is_heard_with_another_mac(pod: &Netns) -> bool {
    let own = pod.ip(&["link", "show", "eth0"])[0]["address"].as_str().unwrap().to_owned();
    pod.run("ip", &["link", "set", "eth0", "address", "02:00:00:00:00:99"]);
    let heard = pod.can_ping(NODE[0]);
    pod.run("ip", &["link", "set", "eth0", "address", &own]);
    assert!(pod.can_ping(NODE[0]), "with its own");
    heard
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pod_whose_mac_is_checked_is_checked_in_new_maps_too() {
    let mut node = Node::new();
    let (free, bound) = (Netns::new("free"), Netns::new("bound"));
    let mut checked = node.conf();
    checked["naru"]["antispoof"] = json!("mac");
    node.add("free", &free).ok();
    node.call("ADD", "bound", &path(&bound), &checked).ok();
    assert!(is_heard_with_another_mac(&free) && !is_heard_with_another_mac(&bound), "before");
    let pods = Pods::open(&node.paths.pins()).unwrap().entries().unwrap();
    node.unmount();
    fs::remove_dir_all(&node.paths.run).unwrap();
    node.boot = "boot-2".to_owned();
    node.add("new", &Netns::new("new")).ok();
    assert!(is_heard_with_another_mac(&free) && !is_heard_with_another_mac(&bound), "after");
    let restored = Pods::open(&node.paths.pins()).unwrap();
    for (address, value) in pods {
        let now = restored.get(address).unwrap().unwrap();
        assert_eq!((now.flags, now.mtu, now.generation), (value.flags, value.mtu, value.generation));
    }
    node.del("bound").ok();
    node.del("free").ok();
    node.del("new").ok();
    node.assert_clean();
}

fn spoil(store: &Path) {
    fs::write(store, b"this is no database, however long one looks at it").unwrap();
    for suffix in ["-journal", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", store.display()));
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_damaged_store_is_rebuilt_from_the_kernel_before_the_next_address() {
    let (node, old, new) = (Node::new(), Netns::new("old"), Netns::new("new"));
    let kept = addresses(&node.add("old", &old).ok());
    spoil(&node.paths.lease_store());
    let given = addresses(&node.add("new", &new).ok());
    assert!(kept.iter().all(|address| !given.contains(address)), "{kept:?} {given:?}");
    assert_eq!(node.held().len(), 4);
    assert_eq!(addresses(&node.add("old", &old).ok()), kept, "adopted with its namespace");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_del_without_store_and_maps_removes_the_interface_and_succeeds() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    node.add("abc", &pod).ok();
    spoil(&node.paths.lease_store());
    node.unmount();
    node.del("abc").ok();
    assert_eq!(node.veths(), [] as [&str; 0]);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_del_with_a_damaged_store_also_clears_the_map() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    node.add("abc", &pod).ok();
    spoil(&node.paths.lease_store());
    node.del("abc").ok();
    assert_eq!(node.veths(), [] as [&str; 0]);
    assert_eq!(node.entries(), [] as [std::net::IpAddr; 0]);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn with_a_full_disk_add_says_try_again_and_del_succeeds() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    node.add("abc", &pod).ok();
    let run = node.paths.run.to_str().unwrap();
    let read_only = Remount::new(run);
    let (code, msg) = node.add("new", &Netns::new("new")).error();
    assert_eq!(code, 11, "{msg}");
    node.del("abc").ok();
    drop(read_only);
    assert_eq!(node.veths(), [] as [&str; 0]);
    assert_eq!(node.held().len(), 2, "the address waits for the reconciler");
    drop(pod);
    node.reconcile_until((0, 0, 0));
}

/// A directory that is read-only while the guard lives.
struct Remount<'a>(&'a str);

impl<'a> Remount<'a> {
    fn new(directory: &'a str) -> Self {
        harness::run("mount", &["--bind", directory, directory]);
        harness::run("mount", &["-o", "remount,bind,ro", directory]);
        Self(directory)
    }
}

impl Drop for Remount<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0).status();
    }
}
