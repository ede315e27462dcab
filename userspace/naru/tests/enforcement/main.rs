//! Policies in force on a machine: a server and clients of its pods, and an agent that reads policies from files or
//! from a real API server.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

#[path = "../machine/mod.rs"]
mod machine;

mod by_api;
mod by_files;
mod scene;
