//! Services and host ports: what the stack translates comes back translated, in every way packets can go.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod backends;
mod by_programs;
mod full;
mod host_port;
mod records;
mod translated;
mod world;
