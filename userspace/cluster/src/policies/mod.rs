//! Policies, and the pods and namespaces that they speak about, as sources tell of them: a [`Register`] that a source
//! fills and a node reads, the form of Kubernetes' objects, and the simplest source, a directory of files.

mod files;
mod left_out;
mod pod;
mod policy;
mod register;
mod selector;
mod settings;

pub(crate) use files::follow;
pub use files::{Objects, read};
pub use left_out::{LeftOut, Reason};
pub use pod::{NamespaceObject, PodObject};
pub use policy::PolicyObject;
pub use register::{Kind, Known, News, Register, Standing};
pub use settings::{Mode, OwnNodeEgress, Settings};

use serde::{Deserialize, Deserializer};

/// An explicit null is as nothing.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

fn default_namespace() -> String {
    "default".to_owned()
}
