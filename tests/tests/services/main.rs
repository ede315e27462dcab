//! Services and host ports: packets that the stack translates come back translated, in every way that packets can go.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod backends;
mod by_programs;
mod full;
mod host_port;
mod records;
mod translated;
mod world;
