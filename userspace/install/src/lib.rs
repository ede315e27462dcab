//! Preparation of a host by an image before the agent runs there: [`directories`] reads from the container runtime's
//! own configuration where the runtime looks for network plugins and their configurations, and [`programs`] puts
//! programs there.
//!
//! Nothing is known here of Kubernetes' distributions: a runtime is found by its configuration and its socket.

pub mod directories;
pub mod programs;
