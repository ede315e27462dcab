//! A machine that is a node of a real cluster.

use std::path::PathBuf;

use naru_controlplane::{ControlPlane, Options};
use serde_json::{Value, json};

use crate::machine::{Agent, Machine};

/// A machine, and an API server in its namespace.
pub struct Scene {
    // It ends before the namespace does.
    pub plane: ControlPlane,
    pub machine: Machine,
}

impl Scene {
    /// With the objects of this machine and of one other node.
    pub fn new() -> Self {
        let machine = Machine::new();
        let options = Options { netns: Some(machine.netns()), ..Options::default() };
        let scene = Self { plane: ControlPlane::start(options).unwrap(), machine };
        scene.create(1, &["10.32.0.0/24", "fd10:32::/112"]);
        scene.create(2, &["10.32.1.0/24", "fd10:32::1:0/112"]);
        scene
    }

    pub fn create(&self, number: u8, blocks: &[&str]) {
        let internal = |address: String| json!({ "type": "InternalIP", "address": address });
        let addresses = [internal(format!("198.51.100.{number}")), internal(format!("2001:db8::{number}"))];
        let mut object = json!({
            "kind": "Node",
            "apiVersion": "v1",
            "metadata": { "name": format!("node{number}") },
            "status": { "addresses": addresses },
        });
        if let Some(first) = blocks.first() {
            object["spec"] = json!({ "podCIDR": first, "podCIDRs": blocks });
        }
        self.plane.run(&["create", "--raw", "/api/v1/nodes", "-f", "-"], &object.to_string()).unwrap();
    }

    pub fn delete(&self, name: &str) {
        self.plane.run(&["delete", "node", name, "--wait=false"], "").unwrap();
    }

    pub fn kubeconfig(&self) -> PathBuf {
        let address = self.plane.servers()[0].address();
        self.plane.kubeconfig("agent.kubeconfig", address).unwrap()
    }

    /// The agent, following the API.
    pub fn agent(&self) -> Agent {
        let file = self.kubeconfig();
        self.machine.agent_with(&["--kubernetes", "--kubeconfig", file.to_str().unwrap()])
    }

    pub fn status(&self) -> Value {
        self.machine.json(&["status"]).1
    }

    /// Evidence of the findings with that code.
    pub fn findings(&self, code: &str) -> Vec<String> {
        let status = self.status();
        let found = status["findings"].as_array().unwrap().iter().filter(|finding| finding["code"] == code);
        found
            .map(|finding| format!("{}: {}", text(&finding["subject"]), text(&finding["evidence"])))
            .collect()
    }

    pub fn has(&self, entry: &str) -> bool {
        // Before the first cluster there is no datapath.
        let is_made = self.machine.outcome(&["routes"]).0 == 0;
        is_made && self.machine.entries().iter().any(|known| known.starts_with(entry))
    }

    pub fn probe(&self, what: &str) -> bool {
        self.machine.outcome(&["agent", "--probe", what]).0 == 0
    }

    /// Returns the entries of `ROUTES` and the kernel routes; a node that left must leave none behind.
    pub fn traces(&self) -> (Vec<String>, Vec<String>) {
        (self.machine.entries(), self.machine.kernel_routes())
    }
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}
