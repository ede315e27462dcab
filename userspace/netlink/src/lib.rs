//! The kernel's netlink families, spoken over blocking sockets. Knows nothing of pods, nodes or files of naru: protocol
//! numbers, handles and priorities come in as arguments ([`Marks`]).
//!
//! None of it needs an async runtime. A socket is bound to the network namespace of the thread that opened it.

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
