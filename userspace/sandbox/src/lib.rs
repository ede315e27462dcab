//! Hosts and pods made of network namespaces on one machine, for the lab and the bench. They run the same binaries as
//! real hosts, and each host has directories of its own.
//!
//! Everything has a name or lies below a directory, so that it can be found and removed after a kill at any step.

pub mod files;
pub mod kube_proxy;
pub mod netns;
pub mod node;
pub mod plugin;
pub mod process;
pub mod tool;
