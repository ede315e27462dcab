//! The agreement on nodes and blocks: [`Source`], and the simplest one, a file, `cluster.toml`. Others are crates of
//! their own.
//!
//! A [`Source`] delivers [`View`]s; the cluster in a view is whole and consistent, whatever the source is made of.
//! [`conformance`] holds what every source must do, for the tests of each.

#[cfg(feature = "conformance")]
pub mod conformance;
mod contact;
mod error;
pub mod file;
mod object_files;
pub mod policies;
pub mod rules;
pub mod services;
mod shelf;
mod source;

pub use contact::Contact;
pub use error::{ClusterError, Problem};
pub use source::{Following, Remark, Revision, Source, View};
