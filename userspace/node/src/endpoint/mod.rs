//! Attachments of pods: made, taken down, compared and put right over the store, the links and the maps.
//!
//! An attachment is made in one order (reserve, wire, confirm) and taken down in the reverse one (unwire, release),
//! so that whatever dies on the way leaves nothing that two pods could share, and what it leaves behind shows as
//! garbage to [`reconcile`](reconcile::pass).

mod attach;
mod check;
mod detach;
mod error;
mod examine;
mod facts;
mod import;
pub(crate) mod namespaces;
mod plan;
mod pod_notes;
pub mod reconcile;
mod restore;
mod spec;
mod tools;

pub use attach::{attach, prepare};
pub use check::{Difference, Expected, check};
pub use detach::{Detached, detach};
pub use error::{AttachError, Cause};
pub use examine::examine;
pub use facts::observe;
pub use import::{Imported, host_local_files, import};
pub use namespaces::alive as live_namespaces;
pub(crate) use namespaces::id as netns_id;
pub use pod_notes::PodNotes;
pub use restore::{Reattached, restore_programs};
pub use spec::{Attached, Spec};
pub use tools::{Maps, Tools};
