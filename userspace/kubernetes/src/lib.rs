//! The Kubernetes API as a source of the cluster: every Node object is a node, its podCIDRs are its blocks.
//!
//! Nothing is written to the API but the condition `NetworkUnavailable` of the own Node, where a cloud set it, and,
//! while there are policies, the own object of pod addresses and events about policies that are refused. The client
//! is HTTP/1.1 by hyper over TLS by rustls, one connection a watch, so that this crate decides what a generic
//! client hides: the socket's time limits, the next address, every pause, and what a list may remove.
//!
//! [`KubernetesSource`] follows three kinds of objects (`follow`), reads them (`nodes`, `ranges`, `endpoints`), and
//! makes one consistent cluster of them (`agreement`); `memory` is what outlives the process. Services and their slices
//! are followed in the same way and go to the node's register as they are (`services`), and so are policies with the
//! namespaces and pods that they speak about (`policies`).

mod access;
mod agreement;
mod api;
mod check;
mod condition;
mod endpoints;
mod follow;
#[cfg(test)]
mod measured;
mod memory;
mod nodes;
mod policies;
mod progress;
mod ranges;
mod services;
mod source;
mod survey;

pub use access::Access;
pub use api::{Api, ApiError, Places};
pub use check::{Fault, Found, check};
pub use follow::Pace;
pub use nodes::{Node, Standing};
pub use policies::{Policies, list_policies};
pub use source::KubernetesSource;
pub use survey::{Agent, Listed, PodAddress, list_nodes, list_pods};
