//! Layouts of ABI 4 (and 3) by their bytes, and the sources of each value of this version. Integers are in host order.
//! host order.
//!
//! | map | key | value |
//! |---|---|---|
//! | `PODS` | address 16 | generation 0..8, ifindex 8..12, flags 12..16, mtu 16..20, pod MAC 20..26, host MAC 26..32 |
//! | `INTERFACES` | ifindex 4 | flags 0..4, host MAC 4..10, pod MAC 10..16 |
//! | `FLOWS` | source 0..16, destination 16..32, ports 32..34 and 34..36, protocol 36..40 | last seen 0..8 |
//! | `STATS` | hook times 34 plus outcome | packets 0..8, bytes 8..16 |
//! | `POD_SLOTS` | number of the slot | ifindex 0..4, zero 4..8, then as `POD_STATS` |
//! | `POD_STATS` | ifindex 4 | received 0..16, then 34 counters of 16 by outcome |

use naru_abi::{Addr, FlowKey, FlowValue, Hook, InterfaceValue, OUTCOMES, Outcome, PodValue, pod_flags};

pub(super) type OldPod = [u8; 32];
pub(super) type OldInterface = [u8; 16];
pub(super) type OldFlowKey = [u8; 40];
pub(super) type OldFlow = [u8; 8];
pub(super) type OldCounter = [u8; 16];
pub(super) type OldCounters = [u8; 16 + 16 * OUTCOMES_THEN];
pub(super) type OldSlot = [u8; 8 + 16 + 16 * OUTCOMES_THEN];

/// The offset of the received packets in a slot, in words of eight bytes; the outcomes follow.
pub(super) const SLOT_COUNTERS: usize = 1;
/// Entries of `POD_SLOTS`.
pub(super) const SLOTS: u32 = 512;
/// Outcomes, by their labels in the order of their numbers: six verdicts, twelve reasons for the stack, sixteen for a
/// drop.
pub(super) const OUTCOMES_THEN: usize = 34;
const LABELS: [&str; OUTCOMES_THEN] = [
    "peer",
    "tunnel",
    "deliver",
    "answer",
    "encapsulated",
    "direct",
    "outside",
    "local-node",
    "unassigned",
    "ttl-expired",
    "too-big",
    "options",
    "multicast",
    "no-shortcut",
    "not-ours",
    "tunnel-device",
    "direct-by-stack",
    "recorded-flow",
    "spoofed-source",
    "spoofed-mac",
    "foreign-neighbour",
    "neighbour-announcement",
    "link-local",
    "unknown-ethertype",
    "malformed",
    "tunnel-port",
    "foreign-outer-source",
    "foreign-inner-source",
    "foreign-key",
    "not-for-this-node",
    "no-tunnel-route",
    "helper-failed",
    "not-ready",
    "flow-table-full",
];
/// Hooks, in the order of their numbers.
const HOOKS: [&str; 6] = ["from_pod", "to_pod", "from_overlay", "to_overlay", "from_underlay", "to_underlay"];

/// The flags that programs set in ABI 4: today they are words of their own.
const MARKS: u32 = pod_flags::SENDS_ANSWERS | pod_flags::RECEIVES_ANSWERS;

/// The entry of a pod.
pub(super) fn pod(address: Addr, old: &OldPod) -> PodValue {
    let flags = word(old, 12);
    let value = PodValue {
        address,
        generation: u64::from_ne_bytes(part(old, 0)),
        ifindex: word(old, 8),
        flags: flags & !MARKS,
        mtu: word(old, 16),
        pod_mac: part(old, 20),
        host_mac: part(old, 26),
        ..PodValue::EMPTY
    };
    value.with_marks(flags)
}

/// The settings of an interface.
pub(super) fn interface(ifindex: u32, old: &OldInterface) -> InterfaceValue {
    InterfaceValue {
        ifindex,
        flags: word(old, 0),
        subject: 0,
        host_mac: part(old, 4),
        pod_mac: part(old, 10),
    }
}

/// The key of a flow.
pub(super) fn flow_key(old: &OldFlowKey) -> FlowKey {
    FlowKey {
        source: Addr::v6(part(old, 0)),
        destination: Addr::v6(part(old, 16)),
        source_port: u16::from_ne_bytes(part(old, 32)),
        destination_port: u16::from_ne_bytes(part(old, 34)),
        protocol: word(old, 36),
    }
}

/// Converts the value of a flow.
pub(super) fn flow(_key: FlowKey, old: &OldFlow) -> FlowValue {
    FlowValue { last_seen: u64::from_ne_bytes(*old) }
}

/// The interface that has a slot; 0 if none.
pub(super) fn slot_owner(old: &OldSlot) -> u32 {
    word(old, 0)
}

/// The present index of each old outcome's counter; `None` if it has no successor.
pub(super) fn outcomes() -> [Option<usize>; OUTCOMES_THEN] {
    LABELS.map(|label| (0..OUTCOMES).find(|at| Outcome::at(*at).is_some_and(|now| now.label() == label)))
}

/// The entries of `STATS`, then and now.
pub(super) fn stats() -> Vec<(u32, u32)> {
    let hooks = HOOKS.iter().enumerate().filter_map(|(number, label)| {
        let now = Hook::ALL.iter().find(|hook| hook.label() == *label)?;
        Some((number, *now))
    });
    let of_hook = |(number, hook): (usize, Hook)| {
        let entries = outcomes().into_iter().enumerate();
        let entries = entries.filter_map(move |(then, now)| {
            let then = u32::try_from(number * OUTCOMES_THEN + then).ok()?;
            Some((then, naru_abi::stats_index(hook, now?)))
        });
        entries.collect::<Vec<_>>()
    };
    hooks.flat_map(of_hook).collect()
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(part(bytes, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_and_hook_of_then_has_its_successor() {
        let lost: Vec<&str> =
            outcomes().iter().zip(LABELS).filter_map(|(now, label)| now.is_none().then_some(label)).collect();
        assert!(lost.is_empty(), "{lost:?}: counters would be lost");
        let places = outcomes();
        assert!((0..places.len()).all(|at| places.iter().filter(|now| **now == places[at]).count() == 1));
        assert_eq!(stats().len(), HOOKS.len() * OUTCOMES_THEN);
    }

    #[test]
    fn labels_tell_outcomes_apart() {
        let label = |at| Outcome::at(at).unwrap().label();
        let twice = (0..OUTCOMES).find(|at| (0..*at).any(|before| label(before) == label(*at)));
        assert_eq!(twice, None);
    }

    #[test]
    fn values_are_read_field_by_field() {
        let mut old = [0; 32];
        old[..8].copy_from_slice(&77u64.to_ne_bytes());
        for (at, number) in [(8, 5u32), (12, 0b1_0001), (16, 1450)] {
            old[at..at + 4].copy_from_slice(&number.to_ne_bytes());
        }
        old[20..32].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
        let value = pod(Addr::v4([10, 0, 0, 1]), &old);
        assert_eq!((value.generation, value.ifindex, value.mtu), (77, 5, 1450));
        assert_eq!((value.address, value.flags), (Addr::v4([10, 0, 0, 1]), pod_flags::NO_SHORTCUT));
        assert_eq!(value.marks(), pod_flags::SENDS_ANSWERS, "of a flag it became a word");
        assert_eq!((value.pod_mac, value.host_mac), ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]));
        let mut old = [0; 40];
        old[..16].copy_from_slice(&Addr::v4([10, 0, 0, 1]).octets);
        old[16..32].copy_from_slice(&Addr::v4([10, 0, 0, 2]).octets);
        for (at, port) in [(32, 80u16), (34, 4000)] {
            old[at..at + 2].copy_from_slice(&port.to_ne_bytes());
        }
        old[36..].copy_from_slice(&6u32.to_ne_bytes());
        let key = FlowKey::between(Addr::v4([10, 0, 0, 1]), Addr::v4([10, 0, 0, 2]), 6).with_ports(80, 4000);
        assert_eq!(flow_key(&old), key);
    }
}
