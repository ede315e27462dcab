//! Where nodes and blocks are agreed. Today that is a file, `cluster.toml`; etcd and Kubernetes come behind [`Source`].
//!
//! A file is read as it was written (`raw`), then turned into a [`naru_core::cluster::ClusterSpec`] in one
//! conversion with every default and every cross-check: whatever leaves this crate is consistent.

mod convert;
mod error;
mod networks;
mod nodes;
mod position;
mod raw;
mod source;

pub use convert::parse;
pub use error::{ClusterError, Problem};
pub use source::{FileSource, Source};
