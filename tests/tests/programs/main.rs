//! The eBPF programs on this machine's kernel: every outcome by one table, real packets, and how programs are attached.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod arrival;
mod attach;
mod budget;
mod cases;
mod flows;
mod foreign;
mod frames;
mod install;
mod kernel;
mod log;
mod next_hops;
mod node;
mod overlay;
mod pair;
mod policy;
mod policy_errors;
mod policy_start;
mod policy_traffic;
mod run;
mod service;
mod settings;
mod slots;
mod table;
mod traffic;
mod underlay;
mod uplink;
mod verifier;
mod world;
