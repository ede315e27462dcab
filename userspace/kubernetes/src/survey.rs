//! Single looks at the API, for commands.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Deserialize;

use crate::{
    api::{Api, ApiError},
    follow::{Kind, list},
    nodes::{self, Node},
};

/// The label that identifies the DaemonSet's pods.
const LABEL: &str = "app.kubernetes.io/name";

/// A Node object.
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uid: String,
    /// The object's contents, or the error in them.
    pub node: Result<Node, String>,
}

/// A pod with an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PodAddress {
    /// `namespace/name`.
    pub pod: String,
    /// The node that it runs on.
    pub node: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// All Node objects, in the order of their names.
///
/// # Errors
/// [`ApiError`].
pub async fn list_nodes(api: &Api) -> Result<Vec<Listed>, ApiError> {
    let mut connection = api.connect().await?;
    let listing = list::<Node>(&mut connection, nodes::PATH).await?;
    let listed =
        |(name, (meta, node)): (String, (crate::follow::Meta, _))| Listed { name, uid: meta.uid, node };
    Ok(listing.objects.into_iter().map(listed).collect())
}

/// An agent of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Agent {
    /// The node that it runs on.
    pub node: String,
    /// Its image, which tells its version.
    pub image: String,
}

#[derive(Clone, PartialEq)]
enum Pod {
    Addressed(PodAddress),
    Agent(Agent),
    /// One that says nothing about the network.
    Other,
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    node_name: String,
    host_network: bool,
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    #[serde(default)]
    image: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    phase: String,
    #[serde(rename = "podIPs")]
    pod_ips: Vec<PodIp>,
}

#[derive(Deserialize)]
struct PodIp {
    ip: IpAddr,
}

impl Kind for Pod {
    fn read(object: &[u8]) -> Result<Self, String> {
        let object: Object = serde_json::from_slice(object).map_err(|error| error.to_string())?;
        // A pod that ended still has its addresses in the API, but no longer holds them.
        if matches!(object.status.phase.as_str(), "Succeeded" | "Failed") {
            return Ok(Self::Other);
        }
        let node = object.spec.node_name;
        if object.metadata.labels.get(LABEL).is_some_and(|name| name == "naru") {
            let image = object.spec.containers.into_iter().next().map(|container| container.image);
            return Ok(Self::Agent(Agent { node, image: image.unwrap_or_default() }));
        }
        if object.spec.host_network || object.status.pod_ips.is_empty() {
            return Ok(Self::Other);
        }
        Ok(Self::Addressed(PodAddress {
            pod: format!("{}/{}", object.metadata.namespace, object.metadata.name),
            node,
            addresses: object.status.pod_ips.into_iter().map(|ip| ip.ip).collect(),
        }))
    }
}

/// All pods with an address of their own that have not ended, and the agents.
///
/// # Errors
/// [`ApiError`]; agents may not list pods, administrators may.
pub async fn list_pods(api: &Api) -> Result<(Vec<PodAddress>, Vec<Agent>), ApiError> {
    let mut connection = api.connect().await?;
    let listing = list::<Pod>(&mut connection, "/api/v1/pods").await?;
    let (mut pods, mut agents) = (Vec::new(), Vec::new());
    for (_, pod) in listing.objects.into_values() {
        match pod {
            Ok(Pod::Addressed(pod)) => pods.push(pod),
            Ok(Pod::Agent(agent)) => agents.push(agent),
            Ok(Pod::Other) | Err(_) => {}
        }
    }
    Ok((pods, agents))
}
