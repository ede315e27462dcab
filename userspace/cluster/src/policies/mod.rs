//! Policies, and the pods and namespaces that they speak about, in the form of Kubernetes' objects, from its API or
//! from files in a directory.

mod files;
mod pod;
mod policy;
mod selector;

pub use files::{Objects, read};
pub use pod::{NamespaceObject, PodObject};
pub use policy::PolicyObject;

use serde::{Deserialize, Deserializer};

/// An explicit null is as nothing.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

fn default_namespace() -> String {
    "default".to_owned()
}
