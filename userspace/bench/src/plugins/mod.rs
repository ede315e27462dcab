//! Times of plugins, from the start of the process to its exit, beside the reference plugins.

mod attach;
mod candidate;
mod floor;
mod leases;
mod used;

pub use self::{
    attach::measure as attach,
    candidate::{Candidate, Kind},
    leases::measure as leases,
};

use std::time::Duration;

/// Milliseconds.
fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
