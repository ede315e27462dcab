//! Addresses by DHCP: Debian's `dhcp` plugin with its daemon, and dnsmasq on the node.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod harness;

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use harness::{NODE, Netns, Node, Said, addresses};
use naru_store::NodeStore;
use serde_json::{Value, json};

const REFERENCE: &str = "/usr/lib/cni";
const SERVER: &str = "10.90.0.1";

/// A process that ends with its guard.
struct Process(Child);

impl Process {
    fn new(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The plugin's daemon, and a server that serves packets from pods' veths as packets from its own interface.
struct Dhcp {
    home: tempfile::TempDir,
    conf: Value,
    _daemon: Process,
    server: Option<Process>,
}

impl Dhcp {
    fn new(node: &Node) -> Self {
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().join("dhcp.sock");
        let mut daemon = Command::new(format!("{REFERENCE}/dhcp"));
        let daemon =
            daemon.args(["daemon", "-timeout", "2s", "-resendmax", "1s", "-socketpath"]).arg(&socket);
        let mut conf = node.conf();
        conf["ipam"] = json!({ "type": "dhcp", "daemonSocketPath": socket });
        node.netns.run("ip", &["link", "add", "dhcp0", "type", "bridge"]);
        node.netns.run("ip", &["address", "add", &format!("{SERVER}/32"), "dev", "dhcp0"]);
        node.netns.run("ip", &["link", "set", "dhcp0", "up"]);
        let daemon = Process::new(daemon);
        let mut dhcp = Self { home, conf, _daemon: daemon, server: None };
        dhcp.server = Some(dhcp.serve(node));
        eventually("the daemon's socket", || socket.exists());
        eventually("the server's log", || dhcp.log("DHCP, IP range") == 1);
        dhcp
    }

    fn serve(&self, node: &Node) -> Process {
        let file = |name: &str| self.file(name).display().to_string();
        let range = "10.90.0.10,10.90.0.12,255.255.255.0,2m";
        let mut command = node.netns.command("/usr/sbin/dnsmasq");
        command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root"]);
        command.args(["--no-ping", "--log-dhcp", "--dhcp-authoritative", "--interface=dhcp0"]);
        command.args(["--bridge-interface=dhcp0,naru*", "--dhcp-option=option:T1,3s"]);
        command.arg(format!("--dhcp-option=option:router,{SERVER}")).arg(format!("--dhcp-range={range}"));
        command.arg(format!("--dhcp-leasefile={}", file("leases")));
        command.arg(format!("--pid-file={}", file("pid"))).arg(format!("--log-facility={}", file("log")));
        Process::new(&mut command)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The number of lines of the server's log that contain `words`.
    fn log(&self, words: &str) -> usize {
        fs::read_to_string(self.file("log")).unwrap_or_default().matches(words).count()
    }

    /// The addresses that the server has given.
    fn leases(&self) -> Vec<String> {
        let text = fs::read_to_string(self.file("leases")).unwrap_or_default();
        text.lines().filter_map(|line| line.split(' ').nth(2).map(str::to_owned)).collect()
    }

    fn call(&self, node: &Node, verb: &str, container: &str, pod: &Netns) -> Said {
        self.call_with(node, verb, container, pod, "")
    }

    fn call_with(&self, node: &Node, verb: &str, container: &str, pod: &Netns, failpoint: &str) -> Said {
        let more = [("CNI_PATH", REFERENCE), ("NARU_FAILPOINT", failpoint)];
        node.call_with(verb, container, pod.path().to_str().unwrap(), &self.conf, &more)
    }
}

#[track_caller]
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within 15 s");
        thread::sleep(Duration::from_millis(50));
    }
}

/// The number of leases in node.db.
fn noted(node: &Node) -> usize {
    NodeStore::open(&node.paths.node_store()).unwrap().delegated().unwrap().len()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_dhcp_server_on_the_node_gives_renews_and_gets_back_the_pods_addresses() {
    let (node, one, two) = (Node::new(), Netns::new("one"), Netns::new("two"));
    let dhcp = Dhcp::new(&node);
    let result = dhcp.call(&node, "ADD", "one", &one).ok();
    let address = addresses(&result).remove(0);
    assert!(address.starts_with("10.90.0."), "{result}");
    assert_eq!(result["ips"][0]["gateway"], SERVER, "as DHCP told it");
    assert_eq!(result["routes"], json!([{ "dst": "0.0.0.0/0", "gw": "169.254.1.1" }]));
    assert_eq!(dhcp.leases(), [address.as_str()]);
    assert_eq!(dhcp.call(&node, "ADD", "one", &one).ok(), result, "a second ADD");
    assert_eq!(dhcp.log("DHCPDISCOVER"), 1, "what stands is not asked for again");
    let other = addresses(&dhcp.call(&node, "ADD", "two", &two).ok());
    for to in [other[0].as_str(), NODE[0], SERVER] {
        assert!(one.can_ping(to), "pod to {to}");
    }
    let mut checked = dhcp.conf.clone();
    checked["prevResult"] = result.clone();
    let path = one.path();
    node.call_with("CHECK", "one", path.to_str().unwrap(), &checked, &[("CNI_PATH", REFERENCE)]).ok();
    let acknowledged = dhcp.log("DHCPACK");
    eventually("a renewal", || dhcp.log("DHCPACK") > acknowledged);
    assert!(one.can_ping(&other[0]), "after the renewal");
    dhcp.call(&node, "DEL", "one", &one).ok();
    eventually("the release", || dhcp.leases() == other);
    dhcp.call(&node, "DEL", "two", &two).ok();
    eventually("the release", || dhcp.leases().is_empty());
    dhcp.call(&node, "DEL", "one", &one).ok();
    assert_eq!((dhcp.log("DHCPRELEASE"), noted(&node)), (2, 0));
    node.assert_clean();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_dhcp_lease_returns_when_a_later_step_fails_and_after_a_kill() {
    let (node, pod, again) = (Node::new(), Netns::new("pod"), Netns::new("again"));
    let dhcp = Dhcp::new(&node);
    for step in ["create-pair", "activate", "reserve", "take-pair", "wire-pod", "confirm"] {
        dhcp.call_with(&node, "ADD", "abc", &pod, &format!("fail:{step}")).error();
        eventually(step, || dhcp.leases().is_empty());
        assert_eq!(noted(&node), 0, "{step}");
        node.assert_clean();
    }
    for step in ["create-pair", "take-pair", "confirm"] {
        assert!(dhcp.call_with(&node, "ADD", "abc", &pod, &format!("kill:{step}")).signal, "{step}");
    }
    let result = dhcp.call(&node, "ADD", "abc", &again).ok();
    assert_eq!(dhcp.leases(), addresses(&result), "one lease, of the last ADD");
    assert_eq!((pod.ip(&["link", "show", "type", "veth"]), node.veths().len()), (json!([]), 1));
    assert!(again.can_ping(NODE[0]));
    dhcp.call(&node, "DEL", "abc", &again).ok();
    eventually("the release", || dhcp.leases().is_empty());
    node.assert_clean();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_a_dhcp_server_the_error_says_so_and_nothing_stays() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    let mut dhcp = Dhcp::new(&node);
    dhcp.server = None;
    let (_, msg) = dhcp.call(&node, "ADD", "abc", &pod).error();
    assert!(msg.starts_with("ipam dhcp: "), "{msg}");
    assert_eq!((noted(&node), pod.ip(&["link", "show", "type", "veth"])), (0, json!([])));
    node.assert_clean();
}
