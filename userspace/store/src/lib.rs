//! The node's persistent state: `state.db` (addresses and their owners, void after a reboot) and `node.db` (identity,
//! blocks, the host's state before init; kept on disk).
//!
//! Both are SQLite databases that several short-lived processes use at once. They are created under a lock and moved
//! into place complete, written in short immediate transactions, and opened only by the library.

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
