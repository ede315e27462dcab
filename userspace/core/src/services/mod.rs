//! Services: the addresses that clients ask for, and the backends that answer in their place.

mod table;

pub use table::{Backend, Frontend, Protocol, Reason, ServiceName, Table, Translation};
