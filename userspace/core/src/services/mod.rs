//! Services: the addresses that clients ask for, and the backends that answer in their place.
//!
//! A source fills the [`Model`]; a [`Compiler`] makes the [`Table`] of one node of it; the node writes that into the
//! maps.

mod compile;
mod model;
pub mod slots;
mod table;

pub use crate::Protocol;
pub use compile::{Compiler, Place, compile};
pub use model::{Endpoint, Form, Model, Port, Service, Slice};
pub use table::{Backend, Frontend, Reason, ServiceName, Table, Translation};

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
