//! Kind 1: a node is ready by its state, not by a marker. Whatever init made or relies on, somebody undoes it on a
//! machine without an agent: CHECK says so, the next ADD makes it again, and then every pod has its way out.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod harness;

use std::path::Path;

use harness::{Netns, Node, addresses};
use naru_bpf::ConfigMap;
use serde_json::{Value, json};

/// A node with a router behind it that knows nothing of pods: only what is masqueraded is answered.
struct Site {
    node: Node,
    _router: Netns,
}

/// Addresses that the router has.
const OUTSIDE: [&str; 2] = ["203.0.113.1", "2001:db8:99::1"];

impl Site {
    fn new() -> Self {
        let (node, router) = (Node::new(), Netns::new("out"));
        for line in [
            "link add wan type veth peer name wan netns OUT",
            "link set wan up",
            "address add 198.51.100.1/24 dev wan",
            "address add 2001:db8:98::1/64 dev wan nodad",
        ] {
            let line = line.replace("OUT", &router.name);
            node.netns.run("ip", &line.split(' ').collect::<Vec<_>>());
        }
        for line in [
            "link set lo up",
            "link set wan up",
            "address add 198.51.100.254/24 dev wan",
            "address add 2001:db8:98::fe/64 dev wan nodad",
            "address add 203.0.113.1/32 dev lo",
            "address add 2001:db8:99::1/128 dev lo nodad",
        ] {
            router.run("ip", &line.split(' ').collect::<Vec<_>>());
        }
        node.netns.run("ip", &["route", "add", "default", "via", "198.51.100.254"]);
        node.netns.run("ip", &["-6", "route", "add", "default", "via", "2001:db8:98::fe"]);
        Self { node, _router: router }
    }

    fn conf(&self) -> Value {
        let mut conf = self.node.conf();
        conf["cniVersion"] = json!("1.1.0");
        conf["ipMasq"] = json!(true);
        conf
    }

    fn add(&self, container: &str, pod: &Netns) -> Value {
        self.node.call("ADD", container, pod.path().to_str().unwrap(), &self.conf()).ok()
    }

    fn check(&self, container: &str, pod: &Netns, result: &Value) -> harness::Said {
        let mut conf = self.conf();
        conf["prevResult"] = result.clone();
        self.node.call("CHECK", container, pod.path().to_str().unwrap(), &conf)
    }
}

/// Acts of somebody, each as a line of a shell in the node's namespace, with the text that CHECK must show.
const UNDONE: &[(&str, &str)] = &[
    ("sysctl -qw net.ipv4.ip_forward=0", "net.ipv4.conf.all.forwarding"),
    ("sysctl -qw net.ipv6.conf.all.forwarding=0", "net.ipv6.conf.all.forwarding"),
    ("sysctl -qw net.ipv4.conf.wan.forwarding=0", "net.ipv4.conf.wan.forwarding"),
    ("sysctl -qw net.ipv6.conf.wan.forwarding=0", "net.ipv6.conf.wan.forwarding"),
    ("sysctl -qw net.ipv4.conf.default.forwarding=0", "net.ipv4.conf.default.forwarding"),
    ("sysctl -qw net.ipv6.conf.default.forwarding=0", "net.ipv6.conf.default.forwarding"),
    ("ip route del unreachable 10.77.0.0/24 proto 150", "routes and rules"),
    ("ip -6 route flush table main proto 150", "route fd77::"),
    (
        "ip address del 198.51.100.1/24 dev wan; ip address add 198.51.100.1/24 dev wan; \
      ip route add default via 198.51.100.254",
        "routes to pods",
    ),
    ("ip route add unreachable 10.99.0.0/24 proto 150", "routes and rules"),
    ("ip rule add pref 40 to 10.99.0.0/24 lookup main protocol 150", "routes and rules"),
    ("rm RUN/ready.json", "ready.json"),
    ("rm RUN/node.json", "not initialised"),
    ("rm PINS/CONFIG", "not initialised"),
    ("rm -r PINS", "not initialised"),
    ("umount BPF", "not initialised"),
    ("rm RUN/state.db", "not initialised"),
    ("nft flush ruleset", "inet naru"),
    ("nft delete table inet naru", "inet naru"),
    ("nft flush chain inet naru forward", "inet naru"),
    (
        "nft 'add table ip docker; add chain ip docker FORWARD { type filter hook forward priority 0; policy drop; }'",
        "nft ip docker FORWARD",
    ),
    (
        "nft 'add table inet host; add chain inet host fw { type filter hook forward priority 5; }; \
         add rule inet host fw drop'",
        "nft inet host fw",
    ),
    ("iptables-nft -P FORWARD DROP", "iptables-nft"),
];

#[test]
#[ignore = "needs root: cargo xtask test"]
fn whatever_somebody_undoes_check_names_it_and_the_next_add_makes_it_again() {
    let (site, first) = (Site::new(), Netns::new("first"));
    let node = &site.node;
    let result = site.add("first", &first);
    let reaches = |pod: &Netns| OUTSIDE.iter().chain(&harness::NODE).all(|address| pod.can_ping(address));
    assert!(reaches(&first));
    site.check("first", &first, &result).ok();
    for (at, (line, named)) in UNDONE.iter().enumerate() {
        let path = |path: &Path| path.display().to_string();
        let line = line
            .replace("RUN", &path(&node.paths.run))
            .replace("BPF", &path(&node.paths.bpf))
            .replace("PINS", &path(node.paths.pins().root()));
        node.netns.run("sh", &["-c", &line]);
        let (code, msg) = site.check("first", &first, &result).error();
        assert!(code == 102 && msg.contains(named), "{line}: {msg}");
        let (pod, name) = (Netns::new("pod"), format!("c{at}"));
        let said = node.call("ADD", &name, pod.path().to_str().unwrap(), &site.conf());
        assert!(said.success, "{line}: {}", said.stdout);
        let own = said.ok();
        assert!(reaches(&pod), "{line}: the new pod {:?}", addresses(&own));
        assert!(reaches(&first), "{line}: the pod from before");
        site.check("first", &first, &result).ok();
        node.call("STATUS", "", "", &site.conf()).ok();
        node.del(&name).ok();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_changed_configuration_of_the_programs_is_made_again() {
    let (site, pod) = (Site::new(), Netns::new("pod"));
    let result = site.add("first", &pod);
    let mut map = ConfigMap::open(&site.node.paths.pins()).unwrap();
    let as_made = map.get().unwrap();
    map.set(naru_abi::Config { features: 0, ..as_made }).unwrap();
    let (_, msg) = site.check("first", &pod, &result).error();
    assert!(msg.contains("map CONFIG"), "{msg}");
    site.add("second", &Netns::new("second"));
    assert_eq!(map.get().unwrap(), as_made);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_route_of_anothers_in_the_place_of_an_own_one_keeps_no_pod_from_starting() {
    let (site, pod) = (Site::new(), Netns::new("pod"));
    site.add("first", &pod);
    site.node.netns.run("ip", &["route", "del", "unreachable", "10.77.0.0/24", "proto", "150"]);
    site.node.netns.run("ip", &["route", "add", "unreachable", "10.77.0.0/24", "metric", "1073741824"]);
    site.node.call("STATUS", "", "", &site.conf()).ok();
    site.add("second", &Netns::new("second"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_namespace_that_took_the_place_of_another_under_its_files_is_made_a_node() {
    let (mut site, pod) = (Site::new(), Netns::new("pod"));
    site.add("first", &pod);
    let before = site.node.entries();
    assert!(!before.is_empty());
    let other = Netns::new("other");
    other.run("ip", &["link", "set", "lo", "up"]);
    let there = std::mem::replace(&mut site.node.netns, other);
    let second = Netns::new("second");
    let add = |site: &Site| site.node.call("ADD", "second", second.path().to_str().unwrap(), &site.conf());
    let (code, msg) = add(&site).error();
    assert!(code == 7 && msg.contains("another network namespace, which still exists"), "{code} {msg}");
    let mine = std::mem::replace(&mut site.node.netns, there);
    assert_eq!(site.node.entries(), before, "nothing of it was touched");
    // Now it is gone, and the other is the node.
    drop(std::mem::replace(&mut site.node.netns, mine));
    let result = add(&site).ok();
    let entries: Vec<String> = site.node.entries().iter().map(ToString::to_string).collect();
    let mut own = addresses(&result);
    own.sort();
    assert_eq!(entries, own, "entries of the other's interfaces are gone");
    site.check("second", &second, &result).ok();
}
