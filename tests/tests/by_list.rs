//! Host ports and rate limits by the list that `naru init` writes, as a container runtime carries it out.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking, their helpers too")]

use std::{net::SocketAddr, os::unix::fs::symlink, process::Command};

use naru_e2e::{
    cni,
    lab::{Lab, Node},
    netns::Scratch,
    probe::{Host, tcp},
    tool,
};
use serde_json::{Value, json};

const REFERENCE: &str = "/usr/lib/cni";
const MEGABYTE: u64 = 1_000_000;
const HOST_PORT: u16 = 9080;
const TARGET: u16 = 8080;

/// A pod that is attached by every plugin of the list, each with what its capabilities ask for.
struct Listed {
    node: Node,
    scratch: Scratch,
    asked: Value,
    result: Value,
}

impl Listed {
    fn add(node: &Node, name: &str, asked: Value) -> Self {
        let mut pod =
            Self { node: node.clone(), scratch: Scratch::create(name).unwrap(), asked, result: Value::Null };
        for plugin in pod.plugins() {
            pod.result = serde_json::from_str(&pod.call(&plugin, "ADD").unwrap()).unwrap();
        }
        pod
    }

    /// The list's plugins, in its order.
    fn plugins(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.node.root.join("cni/conf/05-naru.conflist")).unwrap();
        let list: Value = serde_json::from_str(&text).unwrap();
        let with_head = |plugin: &Value| {
            let mut conf = plugin.clone();
            (conf["cniVersion"], conf["name"]) = (list["cniVersion"].clone(), list["name"].clone());
            conf
        };
        list["plugins"].as_array().unwrap().iter().map(with_head).collect()
    }

    fn call(&self, plugin: &Value, verb: &str) -> anyhow::Result<String> {
        let mut conf = plugin.clone();
        let is_asked = |(key, _): &(&String, &Value)| plugin["capabilities"][key.as_str()] == true;
        let asked = self.asked.as_object().unwrap().iter().filter(is_asked);
        conf["runtimeConfig"] =
            asked.map(|(key, value)| (key.clone(), value.clone())).collect::<serde_json::Map<_, _>>().into();
        if !self.result.is_null() {
            conf["prevResult"] = self.result.clone();
        }
        let binary = match plugin["type"].as_str().unwrap() {
            "naru-cni" => naru_e2e::dist::binary("naru-cni")?,
            other => format!("{REFERENCE}/{other}").into(),
        };
        let mut command = Command::new(binary);
        command
            .envs(self.node.environment())
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", self.scratch.netns().name())
            .env("CNI_NETNS", self.scratch.netns().path())
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", REFERENCE);
        tool::output(&self.node.open()?, &mut command, &conf.to_string()).and_then(tool::text)
    }

    fn host(&self, v6: bool) -> Host {
        let addresses = cni::addresses(&self.result).unwrap();
        let address = addresses.into_iter().find(|address| address.is_ipv6() == v6).unwrap();
        Host { name: self.scratch.netns().name().to_owned(), netns: self.scratch.netns().clone(), address }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        for plugin in self.plugins().iter().rev() {
            if let Err(error) = self.call(plugin, "DEL") {
                eprintln!("{error:#}");
            }
        }
    }
}

/// A lab whose first node has the reference plugins in its directory.
fn lab() -> (Lab, Node) {
    let lab = Lab::up("--families dual --underlay dual").unwrap();
    let node = lab.node("n1").unwrap().clone();
    for plugin in ["portmap", "bandwidth"] {
        symlink(format!("{REFERENCE}/{plugin}"), node.root.join("cni/bin").join(plugin)).unwrap();
    }
    node.naru("init").unwrap();
    (lab, node)
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn host_ports_answer_by_the_list_that_init_writes() {
    let (lab, node) = lab();
    let mapping = json!({ "hostPort": HOST_PORT, "containerPort": TARGET, "protocol": "tcp" });
    let pod = Listed::add(&node, &format!("{}-ported", lab.name), json!({ "portMappings": [mapping] }));
    for v6 in [false, true] {
        let server = pod.host(v6);
        let at = SocketAddr::new(lab.must_host("n1", v6).unwrap().address, HOST_PORT);
        for client in ["p1-1", "p2-1", "n2"] {
            let client = lab.must_host(client, v6).unwrap();
            tcp::stream_by(&client, at, &server, TARGET, 1 << 20, 1 << 20)
                .unwrap_or_else(|error| panic!("from {}, IPv6 {v6}: {error:#}", client.name));
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn both_rate_limits_hold_on_one_node_by_the_list_that_init_writes() {
    let (lab, node) = lab();
    let rates = json!({ "bandwidth": {
        "ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 16_000_000, "egressBurst": 1_600_000,
    } });
    let pod = Listed::add(&node, &format!("{}-limited", lab.name), rates);
    let free = Listed::add(&node, &format!("{}-free", lab.name), json!({}));
    let rate = |from: &Host, to: &Host, bytes: u64| {
        let report = tcp::stream(from, to, bytes, 0).unwrap();
        report.bytes as f64 / report.took.as_secs_f64() / MEGABYTE as f64
    };
    for v6 in [false, true] {
        let (pod, near) = (pod.host(v6), lab.must_host("p1-1", v6).unwrap());
        let to_pod = rate(&near, &pod, 3 * MEGABYTE);
        assert!((0.5..1.5).contains(&to_pod), "{to_pod} MB/s to the pod, limit 1, IPv6 {v6}");
        let from_pod = rate(&pod, &near, 6 * MEGABYTE);
        assert!((1.0..3.0).contains(&from_pod), "{from_pod} MB/s from the pod, limit 2, IPv6 {v6}");
        let unlimited = rate(&free.host(v6), &near, 100 * MEGABYTE);
        assert!(unlimited > 10.0, "{unlimited} MB/s of a pod without a limit, IPv6 {v6}");
    }
}
