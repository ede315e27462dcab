//! The kernel's netlink families over blocking sockets. This crate knows nothing of naru's pods, nodes or files:
//! protocol numbers, handles and priorities are arguments ([`Marks`]).
//!
//! Nothing here needs an async runtime. A socket is bound to the network namespace of the thread that opened it.

pub mod conntrack;
mod errno;
pub mod links;
mod marks;
mod message;
pub mod netns;
pub mod nft;
pub mod sysctl;
pub mod tc;

pub use errno::Errno;
pub use marks::{FilterMark, Gateways, Marks};
