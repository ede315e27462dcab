//! Policies, and the pods and namespaces that they speak about, as the API lists them.

use std::sync::Arc;

use naru_cluster::policies::{NamespaceObject, PodObject, PolicyObject};
use naru_core::policy::model::{self, Event, Labels, NetworkPolicy, Pod};
use serde::de::DeserializeOwned;

use crate::{
    api::{Api, ApiError, Connection},
    follow::{Kind, list},
    survey::list_nodes,
};

/// All policies.
const POLICIES: &str = "/apis/networking.k8s.io/v1/networkpolicies";
/// All namespaces.
const NAMESPACES: &str = "/api/v1/namespaces";
/// All pods.
const PODS: &str = "/api/v1/pods";

/// The objects of a cluster that decide about packets.
#[derive(Default, Debug)]
pub struct Policies {
    /// A change for each: from nothing to what is listed.
    pub events: Vec<Event>,
    /// Objects that cannot be read, each with the reason.
    pub faults: Vec<String>,
}

fn object<T: DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    serde_json::from_slice(json).map_err(|error| error.to_string())
}

impl Kind for Arc<NetworkPolicy> {
    fn read(json: &[u8]) -> Result<Self, String> {
        object::<PolicyObject>(json)?.policy().map(Self::new)
    }
}

/// A namespace: its name and its labels.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Namespace(String, Labels);

impl Kind for Namespace {
    fn read(json: &[u8]) -> Result<Self, String> {
        let (name, labels) = object::<NamespaceObject>(json)?.labels();
        Ok(Self(name, labels))
    }
}

impl Kind for Arc<Pod> {
    fn read(json: &[u8]) -> Result<Self, String> {
        let object = object::<PodObject>(json)?;
        let claim = object.created();
        object.pod(claim).map(Self::new)
    }
}

impl Policies {
    async fn add<T: Kind>(
        &mut self,
        connection: &mut Connection,
        (path, kind): (&str, &str),
        event: impl Fn(T) -> Event,
    ) -> Result<(), ApiError> {
        for (name, read) in list::<T>(connection, path).await?.objects {
            match read {
                (_, Ok(object)) => self.events.push(event(object)),
                (_, Err(fault)) => self.faults.push(format!("{kind} {name}: {fault}")),
            }
        }
        Ok(())
    }
}

/// Lists nodes, namespaces, pods and policies.
///
/// # Errors
/// [`ApiError`]; agents may not list all of them, administrators may.
pub async fn list_policies(api: &Api) -> Result<Policies, ApiError> {
    let mut found = Policies::default();
    for listed in list_nodes(api).await? {
        if let Ok(node) = listed.node {
            let node = model::Node { addresses: node.addresses, blocks: node.blocks };
            found.events.push(Event::Node(listed.name, Some(node)));
        }
    }
    let mut connection = api.connect().await?;
    let namespace = |Namespace(name, labels)| Event::Namespace(name, Some(labels));
    found.add(&mut connection, (NAMESPACES, "Namespace"), namespace).await?;
    let pod = |pod: Arc<Pod>| Event::Pod(pod.uid.clone(), Some(pod));
    found.add(&mut connection, (PODS, "Pod"), pod).await?;
    let policy = |policy: Arc<NetworkPolicy>| Event::Policy(policy.name.clone(), Some(policy));
    found.add(&mut connection, (POLICIES, "NetworkPolicy"), policy).await?;
    Ok(found)
}
