use std::{future::Future, pin::Pin, sync::Arc};

use naru_core::cluster::ClusterSpec;
use tokio::sync::watch;

use crate::ClusterError;

/// A source at work; it ends when nobody listens any more.
pub type Following = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A place where the cluster is agreed.
///
/// A source retries by itself, with pauses of its own, and never takes a cluster back: what was accepted stays in the
/// view while the source cannot be reached, says something invalid, or has not yet read all of it.
pub trait Source: Send {
    /// The name of the source in a log.
    fn describe(&self) -> String;

    /// Follows the source and puts what it says into `views`, until their last receiver is gone. Needs a tokio runtime
    /// with time and IO, and does not block it.
    fn follow(self: Box<Self>, views: watch::Sender<View>) -> Following;
}

/// A cluster as a source knows it. The first view of a channel is the default one: nothing was looked at yet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct View {
    /// The cluster that was accepted last; `None` before the first one was read to its end and accepted.
    pub cluster: Option<Arc<ClusterSpec>>,
    /// The state of the source that `cluster` was read from, where the source can tell its states apart.
    pub revision: Option<Revision>,
    /// The reason for which `cluster` is not the source's present state: that is invalid, or cannot be reached.
    pub complaint: Option<ClusterError>,
}

impl View {
    /// Returns true if the source has answered, with a cluster or with a complaint.
    #[must_use]
    pub const fn is_answered(&self) -> bool {
        self.cluster.is_some() || self.complaint.is_some()
    }
}

/// One state of a source. A source that counts its states gets a kind of its own, with the store's identity beside the
/// number: a smaller number in the same store means one that was restored from a backup.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Revision {
    /// Hash of all that was read. Two states are the same or not; neither is the older one.
    Content(u64),
}
