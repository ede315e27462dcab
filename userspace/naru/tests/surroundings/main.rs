//! Changes that others make to a machine's network, by kinds of situations: one module a kind, one table a module.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

#[path = "../machine/mod.rs"]
mod machine;

mod addresses_that_change;
mod foreign_routes;
mod host_sysctls;
mod own_address;
mod pod_ranges;
mod scene;
mod small_underlay;
mod two_interfaces;
