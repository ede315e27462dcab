//! What to put right between the store and the kernel. The kernel is the witness: nothing is taken away
//! before two passes saw it dead, and what the kernel holds alive is written back into the store.

mod facts;

pub use facts::{Action, Facts, HostRoute, LiveLink, MapEntry, Policy};

use crate::ipam::Millis;

/// What a pass remembers for the next one. A process that starts afresh begins with the default.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pass {}

/// The actions that are due, and what to remember for the next pass.
#[must_use]
pub fn reconcile(_facts: &Facts, _policy: Policy, previous: &Pass, _now: Millis) -> (Vec<Action>, Pass) {
    (Vec::new(), previous.clone())
}
