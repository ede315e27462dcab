//! What the node remembers: `state.db` (addresses and their owners, void after a reboot) and `node.db`
//! (identity, blocks, what the host looked like before init; kept on disk).

mod error;
mod node;
mod state;

pub use error::StoreError;
pub use node::{Identity, NodeStore};
pub use state::{Adoption, ReserveError, Start, StateStore};
