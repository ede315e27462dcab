use std::time::{SystemTime, UNIX_EPOCH};

use naru_core::ipam::Millis;
use rustix::time::{ClockId, clock_gettime};

/// Returns the time of the clock for everything that ends with the boot: milliseconds since the kernel started, sleep
/// included. Nobody can set this clock, so times of cooling and waiting, and the order of events, hold when the time of
/// day is set back.
#[must_use]
pub fn now() -> Millis {
    let time = clock_gettime(ClockId::Boottime);
    let millis = i128::from(time.tv_sec) * 1_000 + i128::from(time.tv_nsec) / 1_000_000;
    Millis::try_from(millis).unwrap_or_default()
}

/// The time of day, in milliseconds since 1970, at which [`now`] was `moment`; for people to read.
#[must_use]
pub fn time_of_day(moment: Millis) -> u64 {
    let today = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let today = u64::try_from(today.as_millis()).unwrap_or(u64::MAX);
    today.saturating_sub(now().saturating_sub(moment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_counts_from_the_start_of_the_kernel() {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let clock = now() as f64 / 1e3;
        assert!((clock - seconds).abs() < 5.0, "{clock} {seconds}");
    }

    #[test]
    fn a_moment_is_as_long_ago_by_the_time_of_day() {
        let (earlier, later) = (time_of_day(now().saturating_sub(60_000)), time_of_day(now()));
        assert!((59_000..61_000).contains(&(later - earlier)), "{earlier} {later}");
    }
}
