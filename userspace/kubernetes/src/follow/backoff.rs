use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// Limits of the first pause and of all pauses.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// Longest pause that a server may request.
const LONGEST_ASKED: Duration = Duration::from_secs(300);

/// Pauses after failures, each random below a limit that doubles: agents that lost the API together do not come back
/// together.
#[derive(Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Failures in a row.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Returns the pause after one more failure; it is not shorter than the server requested, within reason.
    pub fn next(&mut self, asked: Option<Duration>) -> Duration {
        let limit = LONGEST.min(FIRST.saturating_mul(1 << self.failures.min(10)));
        self.failures = self.failures.saturating_add(1);
        asked.unwrap_or_default().min(LONGEST_ASKED) + below(limit)
    }

    /// Something succeeded.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A random time below `limit`.
pub fn below(limit: Duration) -> Duration {
    // A new state has random keys; no secret depends on it.
    let random = RandomState::new().hash_one(0_u8);
    let part = u32::try_from(random >> 48).unwrap_or(0);
    limit.saturating_mul(part) / (1 << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_are_spread_over_all_of_it() {
        let mut backoff = Backoff::default();
        let pauses: Vec<Duration> = (0..60).map(|_| backoff.next(None)).collect();
        assert!(pauses[0] < FIRST && pauses.iter().all(|pause| *pause < LONGEST));
        assert!(pauses[10..].iter().any(|pause| *pause < LONGEST / 2));
        assert!(pauses[10..].iter().any(|pause| *pause > LONGEST / 2));
        backoff.reset();
        assert!(backoff.next(None) < FIRST);
    }

    #[test]
    fn a_server_that_asks_for_a_pause_gets_it() {
        let asked = Duration::from_secs(7);
        let pause = Backoff::default().next(Some(asked));
        assert!(pause >= asked && pause < asked + FIRST);
        assert!(Backoff::default().next(Some(Duration::MAX)) < LONGEST_ASKED + FIRST);
    }
}
