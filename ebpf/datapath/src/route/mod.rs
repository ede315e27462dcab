//! To another node by the underlay: where the kernel would send a packet, and there it goes.

pub mod direct;
pub mod fib;
pub mod next_hops;
