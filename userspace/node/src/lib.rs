//! The node's adapters: links (netlink), datapath (aya), store (SQLite), host (sysctl, nftables), and the plans over them.

pub mod host;
pub mod datapath;
pub mod init;
pub mod links;
pub mod paths;
pub mod store;
