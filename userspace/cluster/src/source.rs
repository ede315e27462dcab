use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use ipnet::IpNet;
use naru_core::cluster::ClusterSpec;
use tokio::sync::watch;

use crate::{ClusterError, Contact};

/// A source at work; it ends when it has no listener left.
pub type Following = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A place where the cluster is agreed.
///
/// A source retries by itself, with pauses of its own, and never takes a cluster back: what was accepted stays in the
/// view while the source cannot be reached, says something invalid, or has not yet read all of it.
pub trait Source: Send {
    /// The name of the source in a log.
    fn describe(&self) -> String;

    /// Follows the source and puts the cluster it describes into `views`, until their last receiver is gone; notes in
    /// `contact` whenever it hears from the source. Needs a tokio runtime with time and IO, and does not block it.
    fn follow(self: Box<Self>, views: watch::Sender<View>, contact: Contact) -> Following;
}

/// A cluster as a source knows it. The first view of a channel is the default one, before anything was read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct View {
    /// The cluster that was accepted last; `None` before the first one was read to its end and accepted.
    pub cluster: Option<Arc<ClusterSpec>>,
    /// The state of the source that `cluster` was read from, where the source can tell its states apart.
    pub revision: Option<Revision>,
    /// Ranges of Service addresses, where the source knows them.
    pub services: Option<Vec<IpNet>>,
    /// The longest time without contact for which a node gives out addresses of its blocks; `None`: for ever.
    pub contact_limit: Option<Duration>,
    /// Parts of the source's present state that `cluster` leaves out, each with the reason.
    pub remarks: Vec<Remark>,
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

/// A part of what a source says that was left out, and the reason.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Remark {
    /// The part: `node node7`.
    pub subject: String,
    /// The reason.
    pub reason: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.reason)
    }
}

/// One state of a source. A source that counts its states gets a kind of its own: a smaller number than before means
/// a source that lags, or a store that was restored from a backup.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Revision {
    /// Hash of everything that was read. Two states are the same or not; neither is the older one.
    Content(u64),
    /// Number of the store's state.
    Number(u64),
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content(hash) => write!(f, "content {hash:016x}"),
            Self::Number(number) => write!(f, "revision {number}"),
        }
    }
}
