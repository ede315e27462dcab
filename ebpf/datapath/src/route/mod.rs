//! Routing to another node over the underlay, as the kernel would route.

pub mod direct;
pub mod fib;
pub mod next_hops;
