//! Pods and namespaces as Kubernetes writes them: the fields that rules look at.

use std::collections::BTreeMap;

use naru_core::policy::model::{Labels, NamedPort, Phase, Pod, Protocol, parse_address};
use serde::{Deserialize, de::IgnoredAny};

use super::{default_namespace, or_default};

/// The label that the API server gives every namespace.
const NAME: &str = "kubernetes.io/metadata.name";

/// A pod.
#[derive(Deserialize, Debug)]
pub struct PodObject {
    metadata: Metadata,
    #[serde(default, deserialize_with = "or_default")]
    spec: Spec,
    #[serde(default, deserialize_with = "or_default")]
    status: Status,
}

/// A namespace.
#[derive(Deserialize, Debug)]
pub struct NamespaceObject {
    metadata: Metadata,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    #[serde(default = "default_namespace")]
    namespace: String,
    #[serde(default)]
    uid: String,
    #[serde(default, deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    creation_timestamp: String,
    deletion_timestamp: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "or_default")]
    annotations: Annotations,
}

#[derive(Deserialize, Default, Debug)]
struct Annotations {
    /// The identity that the kubelet gave a static pod: by it the node knows the pod, whose object has another.
    #[serde(rename = "kubernetes.io/config.mirror", default)]
    mirror: String,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    #[serde(deserialize_with = "or_default")]
    node_name: String,
    #[serde(deserialize_with = "or_default")]
    host_network: bool,
    #[serde(deserialize_with = "or_default")]
    containers: Vec<Container>,
    #[serde(deserialize_with = "or_default")]
    init_containers: Vec<Container>,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default, rename_all = "camelCase")]
struct Container {
    restart_policy: Option<String>,
    #[serde(deserialize_with = "or_default")]
    ports: Vec<ContainerPort>,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
struct ContainerPort {
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    container_port: u16,
    protocol: Option<String>,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    #[serde(deserialize_with = "or_default")]
    phase: String,
    #[serde(rename = "podIP", deserialize_with = "or_default")]
    pod_ip: String,
    #[serde(rename = "podIPs", deserialize_with = "or_default")]
    pod_ips: Vec<PodIp>,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
struct PodIp {
    ip: String,
}

impl PodObject {
    /// `namespace/name`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.metadata.namespace, self.metadata.name)
    }

    /// A number that is larger for a pod that was made later, by whole seconds; 0 if the object does not say when.
    #[must_use]
    pub fn created(&self) -> u64 {
        // Times of the API are of one form (RFC 3339, UTC): their digits are in the order of the time.
        let digits = self.metadata.creation_timestamp.chars().filter(char::is_ascii_digit);
        digits.take(14).collect::<String>().parse().unwrap_or(0)
    }

    /// Converts the object to a [`Pod`]; `claim` is its place in the order in which pods came to their addresses.
    ///
    /// # Errors
    /// An address that is none, in words.
    pub fn pod(self, claim: u64) -> Result<Pod, String> {
        let full_name = self.full_name();
        let Self { metadata, spec, status } = self;
        let identities = [metadata.annotations.mirror, metadata.uid, full_name];
        let texts = status.pod_ips.into_iter().map(|it| it.ip).chain([status.pod_ip]);
        let mut addresses = Vec::new();
        for text in texts.filter(|text| !text.is_empty()) {
            let address = parse_address(&text).ok_or_else(|| format!("{text} is no address"))?;
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Ok(Pod {
            uid: identities.into_iter().find(|identity| !identity.is_empty()).unwrap_or_default(),
            namespace: metadata.namespace,
            name: metadata.name,
            labels: metadata.labels.into_iter().collect(),
            node: spec.node_name,
            addresses,
            host_network: spec.host_network,
            phase: phase(&status.phase),
            terminating: metadata.deletion_timestamp.is_some(),
            ports: ports(spec.containers, spec.init_containers),
            claim,
        })
    }
}

fn phase(name: &str) -> Phase {
    match name {
        "Running" => Phase::Running,
        "Succeeded" | "Failed" => Phase::Completed,
        "Unknown" => Phase::Unknown,
        _ => Phase::Pending,
    }
}

/// Named ports of containers that run as long as the pod: an init container does if it is always restarted.
fn ports(containers: Vec<Container>, init: Vec<Container>) -> Vec<NamedPort> {
    let restarted = init.into_iter().filter(|it| it.restart_policy.as_deref() == Some("Always"));
    let all = containers.into_iter().chain(restarted).flat_map(|container| container.ports);
    let named = all.filter(|port| !port.name.is_empty()).filter_map(|port| {
        let protocol = match port.protocol.as_deref().unwrap_or_default() {
            "" => Protocol::default(),
            text => text.parse().ok()?,
        };
        Some(NamedPort { name: port.name.into(), protocol, port: port.container_port })
    });
    named.collect()
}

impl NamespaceObject {
    /// Its name, and its labels with the one that the API server adds.
    #[must_use]
    pub fn labels(self) -> (String, Labels) {
        let Metadata { name, mut labels, .. } = self.metadata;
        labels.entry(NAME.to_owned()).or_insert_with(|| name.clone());
        (name, labels.into_iter().collect())
    }
}
