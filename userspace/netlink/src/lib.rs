//! The kernel's netlink families, spoken over blocking sockets. Knows nothing of pods, nodes or files of naru: protocol
//! numbers, handles and priorities come in as arguments.

pub mod nft;
