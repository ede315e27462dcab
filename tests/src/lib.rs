//! Tools of the end-to-end tests: clusters of network namespaces, traffic probes, the traffic matrix.
//!
//! Nothing here knows the inside of naru. Labs are made with the `naru` binary, pods with the `naru-cni` binary;
//! packets are built, sent and checked by code of this crate alone.

pub mod cni;
pub mod counters;
pub mod dist;
pub mod kubernetes;
pub mod lab;
pub mod matrix;
pub mod netns;
pub mod offload;
pub mod probe;
pub mod runtime;
pub mod tool;
pub mod wire;
