use crate::{
    outcome::{Hook, OUTCOMES},
    plain::plain,
};

/// Packets and bytes. A GSO packet counts as its segments; bytes are the frame's length as the hook sees it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes, link-layer header included.
    pub bytes: u64,
}
plain!(Counter { packets: u64, bytes: u64 });
// SAFETY: an array of a plain type has neither padding nor invalid bit patterns.
unsafe impl<const N: usize> crate::Plain for [Counter; N] {}

/// Entries of `STATS`: every hook with every outcome.
pub const STATS_ENTRIES: u32 = (Hook::ALL.len() * OUTCOMES) as u32;

/// Index into `STATS` of packets that ended at `hook` with the outcome of this [`crate::Outcome::index`].
#[inline(always)]
#[must_use]
pub const fn stats_index(hook: Hook, outcome: usize) -> u32 {
    (hook as usize * OUTCOMES + outcome) as u32
}

/// Value of `POD_STATS`: what one pod sent and received. `tx` is the sum of `outcomes`, exactly.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PodCounters {
    /// Sent by the pod, whatever became of it.
    pub tx: Counter,
    /// Handed to the pod's interface.
    pub rx: Counter,
    /// What became of the packets the pod sent, by [`crate::Outcome::index`].
    pub outcomes: [Counter; OUTCOMES],
}
plain!(PodCounters { tx: Counter, rx: Counter, outcomes: [Counter; OUTCOMES] });

impl PodCounters {
    /// All zero: what a new pod starts with.
    pub const ZERO: Self = {
        const NONE: Counter = Counter { packets: 0, bytes: 0 };
        Self { tx: NONE, rx: NONE, outcomes: [NONE; OUTCOMES] }
    };
}
