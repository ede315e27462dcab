//! Names of things: an attachment, the pod it belongs to, its interface on the node, and the
//! marks (generation, network namespace) by which two attachments of one name are told apart.

mod alias;
mod attachment;
mod hash;
mod netns;

pub use alias::{Alias, InvalidAlias, Label};
pub use attachment::{AttachmentId, InvalidId, PodName, host_ifname};
pub use hash::fnv1a;
pub(crate) use hash::stable_hash;
pub use netns::{Generation, InvalidNetnsId, NetnsId};
