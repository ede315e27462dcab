//! The decisions of a node, without IO, clock or environment: ids, addresses, desired state and differences.

pub mod cluster;
pub mod desired;
pub mod flows;
pub mod ids;
pub mod ipam;
pub mod overlap;
pub mod policy;
mod printable;
mod protocol;
pub mod reconcile;
pub mod services;
pub mod split;
pub mod translations;

pub use printable::{printable, printable_lines};
pub use protocol::{Protocol, UnknownProtocol};
