//! Following a kind of objects: listed in pages, watched from there, and listed again each ten minutes, because a watch
//! may lose events without a sign.
//!
//! [`Known`] decides what is believed; [`Follower`] reads, waits and repeats.

mod backoff;
mod follower;
mod known;
mod pace;
mod read;
mod watched;

pub use backoff::{Backoff, below};
pub use follower::{Follower, Listener, Snapshot};
pub use known::{Entry, Known, News, Remembered};
pub use pace::Pace;
pub use read::list;
#[cfg(test)]
pub use {known::Listing, read::meta};

use serde::Deserialize;

/// The metadata that every object has.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// The name, which another object may have later.
    pub name: String,
    /// The namespace, of kinds that have one.
    #[serde(default)]
    pub namespace: String,
    /// The identity, which no other object ever has.
    pub uid: String,
    /// The state of the store in which the object last changed.
    pub resource_version: String,
    /// The time at which it was made, as text that sorts.
    #[serde(default)]
    pub creation_timestamp: String,
}

impl Meta {
    /// The name by which no two objects of a kind are known at once.
    pub fn key(&self) -> String {
        match self.namespace.is_empty() {
            true => self.name.clone(),
            false => format!("{}/{}", self.namespace, self.name),
        }
    }
}

/// A kind of objects, as far as it is looked at.
pub trait Kind: Clone + PartialEq + Send + Sync + Sized + 'static {
    /// Reads an object.
    ///
    /// # Errors
    /// An explanation in words of what is invalid; the object is then left as it was known before.
    fn read(object: &[u8]) -> Result<Self, String>;

    /// Takes over facts from an earlier state of the same object or, if there is none, the `revision` at which the
    /// object came while it was watched.
    fn succeed(&mut self, _before: Option<&Self>, _revision: Option<u64>) {}
}
