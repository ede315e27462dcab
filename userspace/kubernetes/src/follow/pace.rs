use std::time::Duration;

/// The times by which the API is judged; tests make them short.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// A server reports its progress each minute, whether or not something happened. After this much silence it counts
    /// as lost, although the connection is alive.
    pub silence: Duration,
    /// Period of the list beside the watch; up to a tenth of it is subtracted at random.
    pub resync: Duration,
    /// Time for which an older state must show again and again before it is believed.
    pub lags: Duration,
    /// Time for which nothing is removed after the store went back: from a backup, nodes come back one by one.
    pub settles: Duration,
    /// Pause before a doubted list is read again.
    pub again: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(150),
            resync: Duration::from_secs(600),
            lags: Duration::from_secs(30),
            settles: Duration::from_secs(600),
            again: Duration::from_secs(2),
        }
    }
}
