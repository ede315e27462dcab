//! naru-cni in a chain with the reference plugins, driven as a runtime drives one.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod harness;

use naru_netlink::netns;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    time::{Duration, Instant},
};

use harness::{NODE, Netns, Node, PLUGIN, Said, addresses, speak};
use naru_abi::pod_flags;
use naru_bpf::Pods;
use serde_json::{Map, Value, json};

/// A runtime with one configuration list.
struct PluginChain<'a> {
    node: &'a Node,
    plugins: Vec<Value>,
    runtime: Value,
}

impl PluginChain<'_> {
    /// Calls one plugin of the list as libcni does: with name, version and result added, and with the values of the
    /// capabilities that the plugin lists.
    fn call(&self, plugin: &Value, verb: &str, pod: &Netns, previous: Option<&Value>) -> Said {
        let mut conf = plugin.clone();
        conf["cniVersion"] = json!("1.0.0");
        conf["name"] = json!("test");
        if let Some(previous) = previous {
            conf["prevResult"] = previous.clone();
        }
        let asked = plugin["capabilities"].as_object().cloned().unwrap_or_default();
        let filled: Map<String, Value> =
            asked.keys().filter_map(|key| Some((key.clone(), self.runtime.get(key)?.clone()))).collect();
        if !filled.is_empty() {
            conf["runtimeConfig"] = Value::Object(filled);
        }
        let kind = plugin["type"].as_str().unwrap();
        let program =
            if kind == "naru-cni" { PathBuf::from(PLUGIN) } else { PathBuf::from("/usr/lib/cni").join(kind) };
        let path = pod.path();
        let environment = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", pod.name.as_str()),
            ("CNI_IFNAME", "eth0"),
            ("CNI_NETNS", path.to_str().unwrap()),
            ("CNI_PATH", "/usr/lib/cni"),
            ("NARU_BOOT_ID", self.node.boot.as_str()),
        ];
        speak(self.node.netns.command(program.to_str().unwrap()), &environment, conf.to_string().as_bytes())
    }

    fn add(&self, pod: &Netns) -> Value {
        let mut result = None;
        for plugin in &self.plugins {
            result = Some(self.call(plugin, "ADD", pod, result.as_ref()).ok());
        }
        result.unwrap()
    }

    /// Calls CHECK of all plugins but portmap, whose CHECK cannot succeed.
    fn check(&self, pod: &Netns, result: &Value) {
        for plugin in self.plugins.iter().filter(|plugin| plugin["type"] != "portmap") {
            self.call(plugin, "CHECK", pod, Some(result)).ok();
        }
    }

    fn del(&self, pod: &Netns, result: &Value) {
        self.plugins.iter().rev().for_each(|plugin| drop(self.call(plugin, "DEL", pod, Some(result)).ok()));
    }
}

fn naru(node: &Node) -> Value {
    let mut plugin = node.conf();
    plugin["capabilities"] = json!({ "bandwidth": true, "ips": true, "mac": true });
    plugin
}

/// A listener in the pod that counts what each connection sends, for as long as the test lasts.
fn listen(pod: &Netns, port: u16) -> TcpListener {
    pod.inside(|| TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], port))).unwrap())
}

fn connect(from: &Netns, to: &str, port: u16) -> std::io::Result<TcpStream> {
    let to = SocketAddr::new(to.parse().unwrap(), port);
    from.inside(|| TcpStream::connect_timeout(&to, Duration::from_secs(5)))
}

/// Bytes that arrive within `time` if the sender sends as much as it can.
fn flood(mut sender: TcpStream, mut receiver: TcpStream, time: Duration) -> usize {
    receiver.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    sender.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let end = Instant::now() + time;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let block = vec![0; 1 << 16];
            while Instant::now() < end {
                let _ = sender.write(&block);
            }
        });
        let (mut block, mut arrived) = (vec![0; 1 << 16], 0);
        while Instant::now() < end {
            arrived += receiver.read(&mut block).unwrap_or_default();
        }
        arrived
    })
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_reference_plugins_behind_naru_take_its_result_and_all_of_them_check_and_leave() {
    let (node, pod, other) = (Node::new(), Netns::new("pod"), Netns::new("other"));
    let data = tempfile::tempdir().unwrap();
    let chain = PluginChain {
        node: &node,
        plugins: vec![
            naru(&node),
            json!({ "type": "tuning", "mac": "c2:11:22:33:44:55", "sysctl": { "net.core.somaxconn": "500" },
                "dataDir": data.path() }),
            json!({ "type": "bandwidth", "capabilities": { "bandwidth": true } }),
            json!({ "type": "firewall", "backend": "iptables" }),
            json!({ "type": "portmap", "snat": true, "capabilities": { "portMappings": true } }),
        ],
        runtime: json!({
            "portMappings": [{ "hostPort": 18090, "containerPort": 80, "protocol": "tcp" }],
            "bandwidth": { "ingressRate": 80_000_000, "ingressBurst": 8_000_000 },
        }),
    };
    let result = chain.add(&pod);
    let second = PluginChain { node: &node, plugins: vec![naru(&node)], runtime: json!({}) }.add(&other);
    assert_eq!(pod.ip(&["link", "show", "eth0"])[0]["address"], "c2:11:22:33:44:55");
    chain.check(&pod, &result);
    for address in addresses(&second).into_iter().chain(NODE.map(str::to_owned)) {
        assert!(pod.can_ping(&address), "{address}");
    }
    chain.del(&pod, &result);
    chain.del(&pod, &result);
    assert_eq!((node.veths().len(), node.entries().len(), node.held().len()), (1, 2, 2), "the other pod's");
}

/// 1 MB/s to the pod and 2 MB/s from it, each with a burst of a tenth of a second.
fn rates() -> Value {
    json!({ "bandwidth": {
        "ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 16_000_000, "egressBurst": 1_600_000,
    } })
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn both_rate_limits_hold_between_pods_of_one_node_and_other_pods_have_none() {
    let (node, limited, free, other) =
        (Node::new(), Netns::new("limited"), Netns::new("free"), Netns::new("other"));
    let bandwidth = json!({ "type": "bandwidth", "capabilities": { "bandwidth": true } });
    let chain = PluginChain { node: &node, plugins: vec![naru(&node), bandwidth], runtime: rates() };
    let result = chain.add(&limited);
    let unlimited = PluginChain { node: &node, plugins: vec![naru(&node)], runtime: json!({}) };
    let [fast, slow] = [unlimited.add(&free), result.clone()].map(|result| addresses(&result).remove(0));
    unlimited.add(&other);

    let flags = |address: &str| {
        let entries = Pods::open(&node.paths.pins()).unwrap().entries().unwrap();
        let wanted: std::net::IpAddr = address.parse().unwrap();
        entries.into_iter().find(|(known, _)| std::net::IpAddr::from(*known) == wanted).unwrap().1.flags
    };
    assert_eq!(flags(&slow) & pod_flags::NO_SHORTCUT, pod_flags::NO_SHORTCUT);
    assert_eq!(flags(&fast) & pod_flags::NO_SHORTCUT, 0);

    let arrived = |from: &Netns, to: &Netns, address: &str| {
        // A port of its own each time: a child that another test forks holds the last listener until it executes.
        let listener = listen(to, 0);
        let stream = connect(from, address, listener.local_addr().unwrap().port()).unwrap();
        flood(stream, listener.accept().unwrap().0, Duration::from_secs(3))
    };
    let bytes = arrived(&other, &limited, &slow);
    assert!((1_500_000..6_000_000).contains(&bytes), "{bytes} bytes in 3 s at 1 MB/s");
    let bytes = arrived(&limited, &free, &fast);
    assert!((3_000_000..12_000_000).contains(&bytes), "{bytes} bytes in 3 s at 2 MB/s");
    let bytes = arrived(&other, &free, &fast);
    assert!(bytes > 12_000_000, "{bytes} bytes in 3 s without a limit: no more than with one");
    chain.check(&limited, &result);
    chain.del(&limited, &result);
    assert_eq!(node.netns.ip(&["link", "show", "type", "ifb"]), json!([]));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_host_port_leads_an_outside_host_to_the_pod() {
    let (node, pod, outside) = (Node::new(), Netns::new("pod"), Netns::new("outside"));
    let to = ["netns", &outside.name];
    let pair = ["link", "add", "out0", "type", "veth", "peer", "name", "eth0", to[0], to[1]];
    node.netns.run("ip", &pair);
    node.netns.run("ip", &["link", "set", "out0", "master", "up0", "up"]);
    outside.run("ip", &["address", "add", "192.0.2.50/24", "dev", "eth0"]);
    outside.run("ip", &["link", "set", "eth0", "up"]);
    let chain = PluginChain {
        node: &node,
        plugins: vec![
            naru(&node),
            json!({ "type": "portmap", "snat": true, "capabilities": { "portMappings": true } }),
        ],
        runtime: json!({ "portMappings": [{ "hostPort": 18090, "containerPort": 80, "protocol": "tcp" }] }),
    };
    let result = chain.add(&pod);
    let listener = listen(&pod, 80);
    let mut client = connect(&outside, NODE[0], 18090).unwrap();
    client.write_all(b"hello").unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let mut said = [0; 5];
    stream.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"hello");
    stream.write_all(b"world").unwrap();
    client.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"world");
    chain.del(&pod, &result);
    assert!(connect(&outside, NODE[0], 18090).is_err());
}

/// In CHECK, Debian's portmap (1.1.1) looks for the rules of one family among those of the other, wherever ip6tables
/// works, whatever the main plugin's result is. A portmap without this fault fails this test; `PluginChain::check` may
/// then call it.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn portmap_s_check_fails_behind_naru_as_it_does_behind_ptp() {
    let data = tempfile::tempdir().unwrap();
    let [v4, v6] = ["10.77.0.0/24", "fd77::/112"].map(|subnet| json!([{ "subnet": subnet }]));
    for ranges in [json!([v4.clone()]), json!([v4, v6])] {
        for main in ["naru-cni", "ptp"] {
            let (node, pod) = (Node::new(), Netns::new("pod"));
            let mut plugin = naru(&node);
            plugin["type"] = json!(main);
            plugin["ipam"] = json!({ "ranges": ranges });
            if main == "ptp" {
                plugin["ipam"]["type"] = json!("host-local");
                plugin["ipam"]["dataDir"] = json!(data.path());
            }
            let portmap =
                json!({ "type": "portmap", "snat": true, "capabilities": { "portMappings": true } });
            let runtime =
                json!({ "portMappings": [{ "hostPort": 18090, "containerPort": 80, "protocol": "tcp" }] });
            let chain = PluginChain { node: &node, plugins: vec![plugin, portmap], runtime };
            let result = chain.add(&pod);
            let said = chain.call(&chain.plugins[1], "CHECK", &pod, Some(&result));
            let is_known = !said.success && said.stdout.contains("could not check ipv6 dnat");
            assert!(is_known, "{main} {ranges}: {}", said.stdout);
            chain.del(&pod, &result);
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_a_plugin_before_naru_answered_stays_in_the_result_and_is_not_naru_s_to_check() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    let chain = PluginChain { node: &node, plugins: vec![naru(&node)], runtime: json!({}) };
    let before = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{ "name": "net0", "sandbox": pod.path() }],
        "ips": [{ "interface": 0, "address": "203.0.113.5/24" }],
        "dns": { "nameservers": ["203.0.113.53"] },
    });
    let result = chain.call(&chain.plugins[0], "ADD", &pod, Some(&before)).ok();
    let given = addresses(&result);
    assert_eq!((given.len(), given[0].as_str()), (3, "203.0.113.5"), "{given:?}");
    assert!(given[1].starts_with("10.77.0.") && given[2].starts_with("fd77::"), "{given:?}");
    assert_eq!(result["ips"][1]["interface"], 2);
    assert_eq!(result["dns"], before["dns"]);
    chain.check(&pod, &result);
    chain.del(&pod, &result);
    let namespace = netns::open_netns(&pod.path());
    assert!(namespace.is_ok(), "the container stays");
    node.assert_clean();
}
