//! Names of things: an attachment, its pod, its interface on the node, and the generation and network namespace that
//! distinguish two attachments of one name.

mod alias;
mod attachment;
mod hash;
mod netns;

pub use alias::{Alias, InvalidAlias, Label};
pub use attachment::{AttachmentId, InvalidId, PodName, host_ifname};
pub use hash::{fnv1a, stable_hash};
pub use netns::{Generation, InvalidNetnsId, NetnsId};
