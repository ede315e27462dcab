use std::sync::Arc;

use naru_core::policy::model::{self, Event, NetworkPolicy, Pod};

use super::{NAMESPACES, Namespace, POLICIES};
use crate::{
    api::{Api, ApiError, Connection},
    follow::{Kind, list},
    survey::list_nodes,
};

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
