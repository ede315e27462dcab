//! The work of a node: plans over the kernel's links (`naru-netlink`), maps and programs (`naru-bpf`) and the stores
//! (`naru-store`), and the parts of the host that they need.

pub mod admission;
pub mod delegate;
pub mod devices;
pub mod endpoint;
pub mod host;
pub mod init;
pub mod lease;
pub mod machine;
pub mod paths;
pub mod policy;
pub mod readiness;
pub mod reservations;
pub mod services;
pub mod symmetry;
pub mod sync;
pub mod uninstall;
