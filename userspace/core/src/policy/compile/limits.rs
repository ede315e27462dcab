//! Limits of the tables, and what is said when something does not fit.

use crate::policy::model::PolicyName;

/// The largest numbers of entries. While a change is carried out, the old entries stand beside the new ones: the maps
/// have room for twice as many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Entries of `PEERS`.
    pub peers: usize,
    /// Entries of `PEER_NETS`.
    pub nets: usize,
    /// Entries of `RULES`.
    pub rules: usize,
}

/// A change that was refused whole: what was in force before is in force.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{subject}: {excess}")]
pub struct Refusal {
    /// The object that was to change: `policy shop/web`.
    pub subject: String,
    /// The limit that it exceeds.
    pub excess: Excess,
}

/// A limit that was exceeded.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Excess {
    /// A table is too small.
    #[error("{what} on this node would be {wanted}, {limit} at most")]
    Table {
        /// The entries of the table.
        what: &'static str,
        /// The number that is needed.
        wanted: usize,
        /// The largest number.
        limit: usize,
    },
    /// A pod has too many rules about one peer.
    #[error(
        "{wanted} ranges of ports in the rules about one peer, {limit} at most: policies {}",
        names(policies)
    )]
    List {
        /// The policies that isolate the pod.
        policies: Vec<PolicyName>,
        /// The number of ranges.
        wanted: usize,
        /// The largest number.
        limit: usize,
    },
}

fn names(policies: &[PolicyName]) -> String {
    policies.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
