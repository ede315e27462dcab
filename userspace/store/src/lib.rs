//! The node's memory: `state.db` (addresses and their owners, void after a reboot) and `node.db` (identity, blocks,
//! the host's state before init; kept on disk).
//!
//! Both are SQLite databases used by several short-lived processes at once: made complete under a lock and
//! moved into place, written to in short immediate transactions, never opened by anything but the library.

mod boot;
mod columns;
mod delegated;
mod error;
pub mod failpoint;
mod filesystem;
mod ledger;
pub mod lock_file;
mod migrate;
mod node;
mod open;
mod state;

pub use boot::Start;
pub use delegated::DelegatedLease;
pub use error::StoreError;
pub use naru_core::ipam::Adoption;
pub use node::{Identity, NodeStore};
pub use open::is_file_of;
pub use state::{ReserveError, StateStore};
