//! The fields of a Node object that naru reads.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Standing;

#[derive(Deserialize)]
pub struct Object {
    #[serde(default)]
    pub metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    pub status: Status,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Metadata {
    labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Spec {
    #[serde(rename = "podCIDR")]
    pod_cidr: String,
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub struct Status {
    addresses: Vec<Address>,
    pub node_info: NodeInfo,
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Address {
    #[serde(rename = "type")]
    kind: String,
    address: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct NodeInfo {
    #[serde(rename = "machineID")]
    pub machine_id: String,
    #[serde(rename = "operatingSystem")]
    operating_system: String,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

impl Object {
    pub fn standing(&self) -> Standing {
        let label = |key: &str| self.metadata.labels.get(key).map_or("", String::as_str);
        let system = match label("kubernetes.io/os") {
            "" => self.status.node_info.operating_system.as_str(),
            system => system,
        };
        match label("type") {
            "virtual-kubelet" => Standing::Virtual,
            _ if !system.is_empty() && system != "linux" => Standing::OtherSystem,
            _ => Standing::Ours,
        }
    }

    pub fn zone(&self) -> &str {
        self.metadata.labels.get("topology.kubernetes.io/zone").map_or("", String::as_str)
    }

    pub fn internal_addresses(&self) -> impl Iterator<Item = &str> {
        let internal = self.status.addresses.iter().filter(|address| address.kind == "InternalIP");
        internal.map(|address| address.address.as_str())
    }

    /// Returns the blocks; an API server older than dual stack has one.
    pub fn pod_cidrs(&self) -> impl Iterator<Item = &str> {
        let one =
            (!self.spec.pod_cidr.is_empty() && self.spec.pod_cidrs.is_empty()).then_some(&self.spec.pod_cidr);
        self.spec.pod_cidrs.iter().chain(one).map(String::as_str)
    }

    pub fn is_unavailable(&self) -> bool {
        let is_so =
            |condition: &Condition| condition.kind == "NetworkUnavailable" && condition.status == "True";
        self.status.conditions.iter().any(is_so)
    }
}
