//! What a node does: the plans over the kernel's links (`naru-netlink`), maps and programs (`naru-bpf`) and the stores
//! (`naru-store`), and what of the host they rest on.

pub mod delegate;
pub mod devices;
pub mod endpoint;
pub mod host;
pub mod init;
pub mod lease;
pub mod machine;
pub mod paths;
pub mod readiness;
pub mod reservations;
pub mod symmetry;
pub mod sync;
pub mod uninstall;
