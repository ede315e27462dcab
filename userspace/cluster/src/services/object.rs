//! Services and EndpointSlices as Kubernetes writes them: the fields that are looked at, with the API's defaults.

use std::{collections::BTreeMap, net::IpAddr};

use naru_core::services::{Endpoint, Form, Port, Protocol, Service, ServiceName, Slice};
use serde::{Deserialize, Deserializer};

/// The label that names another proxy for a Service.
const PROXY: &str = "service.kubernetes.io/service-proxy-name";
/// The label of a slice that names its Service.
const SERVICE: &str = "kubernetes.io/service-name";
/// The label of a node's zone.
const ZONE: &str = "topology.kubernetes.io/zone";
/// The label of slices whose Service has no address.
const HEADLESS: &str = "service.kubernetes.io/headless";

/// Seconds of session affinity where its Service does not say how many.
const AFFINITY: u32 = 10_800;

/// The fields of a Service.
#[derive(Deserialize, Debug)]
pub struct ServiceObject {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

/// The fields of a Node: its zone.
#[derive(Deserialize, Debug)]
pub struct NodeObject {
    metadata: Metadata,
}

impl NodeObject {
    /// The node's name, and its zone where it has one.
    #[must_use]
    pub fn zone(mut self) -> (String, Option<String>) {
        (self.metadata.name, self.metadata.labels.remove(ZONE))
    }
}

/// The fields of an EndpointSlice.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct SliceObject {
    metadata: Metadata,
    address_type: String,
    #[serde(default, deserialize_with = "or_default")]
    endpoints: Vec<EndpointObject>,
    #[serde(default, deserialize_with = "or_default")]
    ports: Vec<EndpointPort>,
}

#[derive(Deserialize, Debug)]
struct Metadata {
    name: String,
    #[serde(default = "default_namespace")]
    namespace: String,
    #[serde(default, deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
}

fn default_namespace() -> String {
    "default".to_owned()
}

/// An explicit null is as nothing.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

#[derive(Deserialize, Debug, Default)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "clusterIP")]
    cluster_ip: String,
    #[serde(rename = "clusterIPs", deserialize_with = "or_default")]
    cluster_ips: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    ports: Vec<ServicePort>,
    session_affinity: String,
    session_affinity_config: Option<AffinityConfig>,
    internal_traffic_policy: Option<String>,
}

#[derive(Deserialize, Debug)]
struct ServicePort {
    #[serde(default)]
    name: String,
    port: u16,
    #[serde(default = "tcp")]
    protocol: Protocol,
}

const fn tcp() -> Protocol {
    Protocol::Tcp
}

#[derive(Deserialize, Debug)]
struct AffinityConfig {
    #[serde(rename = "clientIP")]
    client_ip: Option<ClientIp>,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
struct ClientIp {
    timeout_seconds: Option<u32>,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
struct EndpointObject {
    addresses: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    conditions: Conditions,
    node_name: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    hints: Hints,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Conditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default, rename_all = "camelCase")]
struct Hints {
    #[serde(deserialize_with = "or_default")]
    for_zones: Vec<Named>,
    #[serde(deserialize_with = "or_default")]
    for_nodes: Vec<Named>,
}

#[derive(Deserialize, Debug)]
struct Named {
    name: String,
}

#[derive(Deserialize, Debug)]
struct EndpointPort {
    name: Option<String>,
    port: Option<u16>,
    #[serde(default = "tcp")]
    protocol: Protocol,
}

impl ServiceObject {
    /// The name.
    #[must_use]
    pub fn name(&self) -> ServiceName {
        ServiceName { namespace: self.metadata.namespace.clone(), name: self.metadata.name.clone() }
    }

    /// Converts the object to a [`Service`].
    ///
    /// # Errors
    /// An address that is none, in words.
    pub fn service(mut self) -> Result<Service, String> {
        let spec = self.spec;
        let form = match spec.kind.as_str() {
            "ExternalName" => Form::ExternalName,
            _ if spec.cluster_ip == "None" => Form::Headless,
            _ => Form::Cluster,
        };
        let affinity = (spec.session_affinity == "ClientIP").then(|| {
            let set = spec.session_affinity_config.and_then(|config| config.client_ip?.timeout_seconds);
            set.unwrap_or(AFFINITY)
        });
        let port =
            |port: ServicePort| Port { name: port.name.into(), port: port.port, protocol: port.protocol };
        Ok(Service {
            form,
            addresses: match form {
                Form::Cluster => addresses(spec.cluster_ip, spec.cluster_ips)?,
                Form::Headless | Form::ExternalName => Box::default(),
            },
            ports: spec.ports.into_iter().map(port).collect(),
            affinity,
            is_local: spec.internal_traffic_policy.is_some_and(|policy| policy == "Local"),
            proxy: self.metadata.labels.remove(PROXY).map(Into::into),
        })
    }
}

/// The cluster addresses, one a family; a server from before dual stack says one.
fn addresses(first: String, mut all: Vec<String>) -> Result<Box<[IpAddr]>, String> {
    if all.is_empty() && !first.is_empty() {
        all.push(first);
    }
    let mut found: Vec<IpAddr> = Vec::new();
    for text in all {
        let address: IpAddr = text.parse().map_err(|_| format!("clusterIP `{text}` is not an address"))?;
        if found.iter().all(|other| other.is_ipv4() != address.is_ipv4()) {
            found.push(address);
        }
    }
    Ok(found.into())
}

impl SliceObject {
    /// The namespace and the name.
    #[must_use]
    pub fn name(&self) -> (&str, &str) {
        (&self.metadata.namespace, &self.metadata.name)
    }

    /// Converts the object to a [`Slice`], which has no Service if the object has no IP addresses or is headless.
    ///
    /// # Errors
    /// An address that is none, in words.
    pub fn slice(mut self) -> Result<Slice, String> {
        let is_ipv4 = match self.address_type.as_str() {
            _ if self.metadata.labels.contains_key(HEADLESS) => return Ok(Slice::default()),
            "IPv4" => true,
            "IPv6" => false,
            _ => return Ok(Slice::default()),
        };
        let endpoints = self.endpoints.into_iter().filter_map(|one| endpoint(one, is_ipv4).transpose());
        let port = |port: EndpointPort| {
            // Without a number it would be every port; kube-proxy leaves such out, too.
            let number = port.port.filter(|port| *port != 0)?;
            Some(Port { name: port.name.unwrap_or_default().into(), port: number, protocol: port.protocol })
        };
        Ok(Slice {
            service: self.metadata.labels.remove(SERVICE).unwrap_or_default().into(),
            ports: self.ports.into_iter().filter_map(port).collect(),
            endpoints: endpoints.collect::<Result<_, _>>()?,
        })
    }
}

/// The endpoint by the first of its addresses: the API says that all are the same one.
fn endpoint(object: EndpointObject, is_ipv4: bool) -> Result<Option<Endpoint>, String> {
    let Some(text) = object.addresses.into_iter().next() else { return Ok(None) };
    let address: IpAddr = text.parse().map_err(|_| format!("endpoint `{text}` is not an address"))?;
    if address.is_ipv4() != is_ipv4 {
        return Err(format!("endpoint {address} is not of the slice's family"));
    }
    let names = |hints: Vec<Named>| hints.into_iter().map(|hint| hint.name.into()).collect();
    Ok(Some(Endpoint {
        address,
        node: object.node_name.map(Into::into),
        is_ready: object.conditions.ready.unwrap_or(true),
        is_serving: object.conditions.serving.unwrap_or(true),
        is_terminating: object.conditions.terminating.unwrap_or(false),
        zones: names(object.hints.for_zones),
        nodes: names(object.hints.for_nodes),
    }))
}
