//! The node's machine, and naru's changes of it other than links and maps: identity of boot and namespaces, sysctls,
//! the nftables table, exceptions in foreign FORWARD chains, the bpffs mount, installed files.
//!
//! Everything acts on the calling thread's network namespace. Each change that is not ours alone is remembered first
//! ([`Journal`]) and has an exact inverse ([`undo`]).

pub mod firewall;
pub mod forward;
pub(crate) mod process;
pub mod sysctl;

mod bpffs;
mod capabilities;
mod clock;
mod command;
mod error;
mod file;
mod identity;
mod journal;
mod undo;

pub use bpffs::{check_place, ensure_bpffs, is_bpffs, unmount_bpffs};
pub use capabilities::lacking as lacking_capabilities;
pub use clock::{now, time_of_day};
pub use error::HostError;
pub use file::{install_file, is_temporary_of, remove_file};
pub use identity::{boot_id, hostname, machine_id, product_uuid};
pub use journal::{Journal, JournalError};
pub use undo::undo;
