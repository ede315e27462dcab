//! Host ports by the reference plugin portmap behind ours.

use std::{net::SocketAddr, process::Command};

use naru_e2e::{
    cni::TestPod,
    lab::Node,
    probe::{tcp, udp},
    tool,
};
use naru_sandbox::kube_proxy::Proxy;
use serde_json::{Value, json};

use crate::world::{TARGET, Way, World};

const PORTMAP: &str = "/usr/lib/cni/portmap";
const HOST_PORT: u16 = 9080;

/// A pod whose port [`TARGET`] is port [`HOST_PORT`] of its node, by TCP and UDP.
struct Published {
    pod: TestPod,
    node: Node,
    conf: Value,
}

impl Published {
    fn new(world: &World, node: &str, name: &str) -> Self {
        let pod = TestPod::add(&world.lab, node, name, &json!({})).unwrap();
        let ips: Vec<Value> = pod
            .addresses
            .iter()
            .map(|ip| json!({"address": format!("{ip}/{}", if ip.is_ipv4() { 32 } else { 128 }), "interface": 0}))
            .collect();
        let mapping =
            |protocol| json!({"hostPort": HOST_PORT, "containerPort": TARGET, "protocol": protocol});
        let conf = json!({
            "cniVersion": "1.0.0",
            "name": "e2e",
            "type": "portmap",
            "runtimeConfig": {"portMappings": [mapping("tcp"), mapping("udp")]},
            "prevResult": {
                "cniVersion": "1.0.0",
                "interfaces": [{"name": "eth0", "sandbox": pod.netns().path()}],
                "ips": ips,
            },
        });
        let published = Self { pod, node: world.lab.node(node).unwrap().clone(), conf };
        published.call("ADD").unwrap();
        published
    }

    fn call(&self, verb: &str) -> anyhow::Result<String> {
        let mut command = Command::new(PORTMAP);
        command
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", self.pod.netns().name())
            .env("CNI_NETNS", self.pod.netns().path())
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", "/usr/lib/cni");
        tool::output(&self.node.open()?, &mut command, &self.conf.to_string()).and_then(tool::text)
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        if let Err(error) = self.call("DEL") {
            eprintln!("{error:#}");
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn host_ports_answer_pods_and_nodes_wherever_they_are() {
    for way in Way::ALL {
        let world = World::up(way, Proxy::Iptables);
        let published = Published::new(&world, "n1", "published");
        for v6 in [false, true] {
            let server = published.pod.host(v6).unwrap();
            let at = SocketAddr::new(world.host("n1", v6).address, HOST_PORT);
            for client in ["p2-1", "p1-1", "n2", "out"] {
                let client = world.host(client, v6);
                let about = |error| panic!("{way:?}, from {}: {error:#}\n{}", client.name, world.describe());
                let report =
                    tcp::stream_by(&client, at, &server, TARGET, 8 << 20, 8 << 20).unwrap_or_else(about);
                assert_ne!(report.peer.ip(), at.ip(), "{}: host ports hide nobody", client.name);
                // A sender that fragments for a wider link must be told the pod's MTU first (RFC 8200, 5).
                let _ = udp::echo_by(&client, at, &server, TARGET, &[8000]);
                udp::echo_by(&client, at, &server, TARGET, &[1, 1200, 8000])
                    .unwrap_or_else(|error| panic!("{way:?}, from {}: {error:#}", client.name));
            }
            // To itself.
            tcp::stream_by(&server, at, &server, TARGET, 1 << 20, 1 << 20).unwrap();
        }
    }
}
