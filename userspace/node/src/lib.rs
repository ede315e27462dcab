//! The node's adapters: links (netlink), datapath (aya), store (SQLite), host (sysctl, nftables), and the plans over them.

pub mod conntrack;
pub mod datapath;
pub mod delegate;
pub mod endpoint;
mod errno;
mod failpoint;
pub mod health;
pub mod host;
pub mod init;
pub mod lease;
pub mod links;
mod netlink;
pub mod paths;
pub mod reservations;
pub mod store;
pub mod symmetry;
pub mod sync;
pub mod uninstall;
