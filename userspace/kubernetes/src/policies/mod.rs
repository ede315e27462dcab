//! Policies, and the namespaces and pods that they speak about: listed once for commands (`list`), and followed for the
//! node's register (`follow`). `lent` has the addresses of pods before the API shows them.

mod events;
mod follow;
mod lent;
mod list;

use std::sync::Arc;

use naru_cluster::policies::{NamespaceObject, PodObject, PolicyObject};
use naru_core::policy::model::{Labels, NetworkPolicy, Pod};
use serde::de::DeserializeOwned;

use crate::follow::Kind;

pub use follow::follow;
pub use lent::Own;
pub use list::{Policies, list_policies};

/// All policies.
const POLICIES: &str = "/apis/networking.k8s.io/v1/networkpolicies";
/// All namespaces.
const NAMESPACES: &str = "/api/v1/namespaces";

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

#[cfg(test)]
mod tests;
