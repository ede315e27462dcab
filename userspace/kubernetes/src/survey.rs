//! Single looks at the API, for commands.

use std::net::IpAddr;

use serde::Deserialize;

use crate::{
    api::{Api, ApiError},
    follow::{Kind, list},
    nodes::{self, Node},
};

/// A Node object.
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uid: String,
    /// What it says, or the error in it.
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

#[derive(Clone, PartialEq)]
struct Pod(Option<PodAddress>);

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
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    node_name: String,
    host_network: bool,
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
        // A pod that ended has its addresses in the API still, and no more of them.
        let is_over = matches!(object.status.phase.as_str(), "Succeeded" | "Failed");
        let has_own = !object.spec.host_network && !object.status.pod_ips.is_empty() && !is_over;
        Ok(Self(has_own.then(|| PodAddress {
            pod: format!("{}/{}", object.metadata.namespace, object.metadata.name),
            node: object.spec.node_name,
            addresses: object.status.pod_ips.into_iter().map(|ip| ip.ip).collect(),
        })))
    }
}

/// All pods with an address of their own that have not ended.
///
/// # Errors
/// [`ApiError`]; agents may not list pods, administrators may.
pub async fn list_pods(api: &Api) -> Result<Vec<PodAddress>, ApiError> {
    let mut connection = api.connect().await?;
    let listing = list::<Pod>(&mut connection, "/api/v1/pods").await?;
    let pods = listing.objects.into_values().filter_map(|(_, pod)| pod.ok()?.0);
    Ok(pods.collect())
}
