use std::time::Duration;

use super::{LinkError, Mac};

/// Something changed in the namespace; what it is now must be looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A link appeared, or its name, MAC address, MTU or up state was set.
    Link {
        /// Interface index.
        index: u32,
        /// Name.
        name: String,
        /// MAC address now.
        mac: Option<Mac>,
        /// Whether it is up.
        up: bool,
    },
    /// A link is gone.
    LinkGone {
        /// Interface index.
        index: u32,
        /// Name.
        name: String,
    },
    /// A route appeared or went.
    Route {
        /// Whether it is (was) of our protocol.
        ours: bool,
        /// Whether it went.
        gone: bool,
    },
    /// An address of the node appeared or went.
    Address {
        /// Interface index.
        index: u32,
    },
    /// A policy rule appeared or went.
    Rule,
    /// Notifications were lost: look at everything.
    Lost,
}

/// A subscription to the changes of one network namespace.
#[derive(Debug)]
pub struct Watch {}

impl Watch {
    /// Subscribes in the calling thread's network namespace; changes from now on are kept until they are read.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn open() -> Result<Self, LinkError> {
        todo!()
    }

    /// The next change, or `None` after `timeout`; without one it waits for ever.
    ///
    /// # Errors
    /// The socket fails.
    pub fn next(&mut self, timeout: Option<Duration>) -> Result<Option<Change>, LinkError> {
        let _ = timeout;
        todo!()
    }
}

/// Subscribes in the calling thread's network namespace and hands every change to `take` on a thread of its own,
/// until `take` returns `false` or the socket fails. `take` fits any channel: `watch(move |change| sender.send(change).is_ok())`.
///
/// # Errors
/// The socket or the thread cannot be made.
pub fn watch(take: impl FnMut(Change) -> bool + Send + 'static) -> Result<(), LinkError> {
    let _ = take;
    todo!()
}
