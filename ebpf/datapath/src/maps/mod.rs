//! The pinned maps: each is private to one module, behind typed functions.

pub mod config;
pub mod flow_pairs;
pub mod flows;
pub mod interfaces;
pub mod next_hops;
pub mod pods;
pub mod policies;
pub mod policy_scratch;
pub mod routes;
pub mod services;
pub mod states;
pub mod stats;
pub mod translations;
pub mod verdicts;
