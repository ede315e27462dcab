use std::{fs, net::IpAddr, path::Path};

use anyhow::Context;
use naru_abi::{pod_flags::JUDGED, policy::CLOSED_SUBJECT};
use naru_bpf::Pods;
use naru_sandbox::node;
use serde_json::{Value, json};

use super::{follow::follow, underlay::Node};
use crate::{binaries::Binaries, site::Site};

/// The directory of the policies in that of the node's settings.
const DIRECTORY: &str = "policies";
/// Blocks that each policy allows beside the measured pods, none of which has an address of theirs.
const BLOCKS: u32 = 8;

/// Labels of the measured pods.
pub const CLIENT: &str = "client";
pub const SERVER: &str = "server";

/// Policies that isolate the measured pods in both directions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policies {
    /// Their number, of the client and of the servers.
    pub count: u32,
}

/// A measured pod.
pub struct Judged {
    /// Its name.
    pub name: &'static str,
    /// Its label.
    pub app: &'static str,
    /// Its node.
    pub node: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

impl Policies {
    /// The line of the cluster file that makes naru read them.
    pub fn setting(self) -> String {
        let _ = self;
        format!("policy_files = \"{DIRECTORY}\"\n")
    }

    /// Puts them into force on the node.
    ///
    /// # Errors
    /// The agent does not take them.
    pub fn enforce(
        self,
        site: &Site,
        binaries: &Binaries,
        node: &Node,
        pods: &[Judged],
    ) -> anyhow::Result<()> {
        let paths = node::paths(&site.directory(&node.name));
        self.write(&paths.config.join(DIRECTORY), pods).context("write policies")?;
        let maps = Pods::open(&paths.pins())?;
        follow(site, binaries, node, || {
            let entries = maps.entries()?;
            Ok(entries.iter().all(|(_, value)| {
                value.flags & JUDGED == JUDGED && ![0, CLOSED_SUBJECT].contains(&value.subject)
            }))
        })
    }

    fn write(self, directory: &Path, pods: &[Judged]) -> anyhow::Result<()> {
        let items: Vec<_> = (0..self.count).flat_map(policies).chain(pods.iter().map(pod)).collect();
        fs::create_dir_all(directory)?;
        let next = directory.join(".next");
        fs::write(&next, json!({ "kind": "List", "items": items }).to_string())?;
        Ok(fs::rename(next, directory.join("all.json"))?)
    }
}

fn pod(pod: &Judged) -> Value {
    let addresses: Vec<_> = pod.addresses.iter().map(|address| json!({ "ip": address })).collect();
    json!({
        "kind": "Pod",
        "metadata": { "name": pod.name, "labels": { "app": pod.app } },
        "spec": { "nodeName": pod.node },
        "status": { "phase": "Running", "podIPs": addresses },
    })
}

/// A policy of the client and one of the servers: each lets through what the client begins, and so only that answers
/// pass the other way.
fn policies(number: u32) -> [Value; 2] {
    let block = |one: u32| {
        let at = number * BLOCKS + one;
        json!({ "ipBlock": { "cidr": format!("172.{}.{}.0/24", 16 + (at >> 8) % 16, at & 255) } })
    };
    let selector = |app: &str| json!({ "podSelector": { "matchLabels": { "app": app } } });
    let peers = |app: &str| (0..BLOCKS).map(block).chain([selector(app)]).collect::<Vec<_>>();
    let any = |protocol: &str| json!({ "protocol": protocol, "port": 1, "endPort": 65_535 });
    let ports = json!([any("TCP"), any("UDP")]);
    let policy = |app: &str, direction: &str, rule: Value| {
        json!({
            "kind": "NetworkPolicy",
            "metadata": { "name": format!("{app}-{number}") },
            "spec": {
                "podSelector": { "matchLabels": { "app": app } },
                "policyTypes": ["Ingress", "Egress"],
                direction: [rule],
            },
        })
    };
    [
        policy(CLIENT, "egress", json!({ "to": peers(SERVER), "ports": ports })),
        policy(SERVER, "ingress", json!({ "from": peers(CLIENT), "ports": ports })),
    ]
}
