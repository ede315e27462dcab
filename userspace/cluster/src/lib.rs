//! The agreement on nodes and blocks. Today that is a file, `cluster.toml`; etcd and Kubernetes come behind
//! [`Source`].
//!
//! A [`Source`] delivers [`View`]s; the cluster in a view is whole and consistent, whatever the source is made of.
//! [`conformance`] holds what every source must do, for the tests of each.

#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
pub mod file;
mod source;

pub use error::{ClusterError, Problem};
pub use source::{Following, Revision, Source, View};
