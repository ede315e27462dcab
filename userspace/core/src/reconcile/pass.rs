use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{HostRoute, MapEntry};
use crate::ids::{Alias, Generation};
use crate::ipam::{Domain, Millis};

/// Something that was seen dead.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Suspect {
    Row(Domain, IpAddr, Generation),
    Link(u32, Alias),
    Entry(MapEntry),
    Route(HostRoute),
    Interface(u32),
}

/// The memory of a pass for the next one: everything that it saw dead, each with the time. A process that starts
/// begins with the default.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pass {
    since: BTreeMap<Suspect, Millis>,
}

impl Pass {
    /// The number of things that the pass saw dead.
    #[must_use]
    pub fn suspects(&self) -> usize {
        self.since.len()
    }
}

/// The suspects of a pass that is under way.
pub(super) struct Watch<'a> {
    previous: &'a Pass,
    gap: Millis,
    now: Millis,
    pub(super) next: Pass,
}

impl<'a> Watch<'a> {
    pub(super) fn new(previous: &'a Pass, gap: Millis, now: Millis) -> Self {
        Self { previous, gap, now, next: Pass::default() }
    }

    /// Notes something that is dead now; returns true if an earlier pass, long enough ago, saw it dead too.
    pub(super) fn confirms(&mut self, suspect: Suspect) -> bool {
        self.confirms_after(self.gap, suspect)
    }

    /// As [`Watch::confirms`], with another least time.
    pub(super) fn confirms_after(&mut self, gap: Millis, suspect: Suspect) -> bool {
        let before = self.previous.since.get(&suspect).copied();
        let since = before.map_or(self.now, |before| before.min(self.now));
        self.next.since.insert(suspect, since);
        before.is_some() && self.now - since >= gap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspect(ifindex: u32) -> Suspect {
        Suspect::Route(HostRoute { address: "10.0.0.1".parse().unwrap(), ifindex })
    }

    #[test]
    fn only_the_second_look_after_the_gap_confirms() {
        let never = Pass::default();
        let mut first = Watch::new(&never, 100, 1000);
        assert!(!first.confirms(suspect(1)));
        let mut early = Watch::new(&first.next, 100, 1099);
        assert!(!early.confirms(suspect(1)));
        let mut late = Watch::new(&early.next, 100, 1100);
        assert!(late.confirms(suspect(1)));
        assert!(!late.confirms(suspect(2)));
    }

    #[test]
    fn what_was_alive_in_between_starts_again() {
        let never = Pass::default();
        let mut first = Watch::new(&never, 0, 1000);
        first.confirms(suspect(1));
        let alive = Watch::new(&first.next, 0, 1001);
        let mut again = Watch::new(&alive.next, 0, 1002);
        assert!(!again.confirms(suspect(1)));
        assert_eq!(again.next.suspects(), 1);
    }

    #[test]
    fn a_clock_that_was_set_back_only_delays() {
        let never = Pass::default();
        let mut first = Watch::new(&never, 100, 5000);
        first.confirms(suspect(1));
        let mut back = Watch::new(&first.next, 100, 1000);
        assert!(!back.confirms(suspect(1)));
        assert!(Watch::new(&back.next, 100, 1100).confirms(suspect(1)));
    }
}
