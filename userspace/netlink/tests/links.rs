//! The netlink adapters against the running kernel, each test in namespaces of its own.
#![expect(clippy::unwrap_used, reason = "a failing step of a test ends it")]

mod support;

mod links {
    mod netns;
    mod next_hops;
    mod overlay;
    mod pods;
    mod routes;
    mod scene;
    mod watch;
}
