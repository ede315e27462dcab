use crate::{
    names::POD_SLOTS,
    outcome::{Hook, OUTCOMES},
    plain::plain,
};

/// Packets and bytes. A GSO packet counts as its segments, by its length where the kernel has not counted them; bytes
/// are the frame's length as the hook sees it.
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

/// Counters of one pod. The total that it sent is the sum of `outcomes`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PodCounters {
    /// Handed to the pod's interface.
    pub rx: Counter,
    /// Packets that the pod sent, by [`crate::Outcome::index`].
    pub outcomes: [Counter; OUTCOMES],
}
plain!(PodCounters { rx: Counter, outcomes: [Counter; OUTCOMES] });

impl PodCounters {
    /// All zero: what a new pod starts with.
    pub const ZERO: Self = {
        const NONE: Counter = Counter { packets: 0, bytes: 0 };
        Self { rx: NONE, outcomes: [NONE; OUTCOMES] }
    };
}

/// Value of `POD_SLOTS`, in which the pod that owns the slot is counted without a search, and of `POD_STATS`, where
/// `ifindex` repeats the key.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PodSlot {
    /// The pod's host ifindex; 0 for nobody's.
    pub ifindex: u32,
    /// Zero; keeps the counters aligned.
    pub reserved: u32,
    /// Its counters.
    pub counters: PodCounters,
}
plain!(PodSlot { ifindex: u32, reserved: u32, counters: PodCounters });

/// Index into `POD_SLOTS` of the one slot that the pod behind `ifindex` may have.
#[inline(always)]
#[must_use]
pub const fn pod_slot(ifindex: u32) -> u32 {
    ifindex & (POD_SLOTS - 1)
}
const _: () = assert!(POD_SLOTS.is_power_of_two());
