//! The host's adapters against the running kernel and its tools, each test in namespaces of its own.
#![expect(clippy::unwrap_used, reason = "a failing step of a test ends it")]

#[path = "../../netlink/tests/support/mod.rs"]
mod support;

mod host {
    mod firewall;
    mod forward;
    mod mounts;
    mod scene;
    mod sysctls;
    mod traffic;
}
