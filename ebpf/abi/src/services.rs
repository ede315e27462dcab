use crate::{Addr, FlowKey, plain::plain};

/// Default of how long the programs trust `SERVICES` without a word of the agent, in seconds: after that new flows take
/// the stack, as backends may have gone. User space writes the end of that time, [`ServiceState::fresh_until`].
pub const SERVICES_TRUSTED: u64 = 300;

/// The one value of `SERVICE_STATE`: whether packets are looked for in `SERVICES` at all.
///
/// All zero (the node has no Services, or leaves them to the stack) costs a packet the load of one word. User space
/// changes a word at a time; programs read it while it changes.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServiceState {
    /// 1 where packets are looked for in `SERVICES`; 0 where not.
    pub on: u32,
    /// Zero; keeps the words aligned.
    pub reserved: u32,
    /// Until when new flows may be translated: nanoseconds of `CLOCK_MONOTONIC`. Flows that are translated already go
    /// on after that.
    pub fresh_until: u64,
    /// Holds every IPv4 address of `SERVICES`. Nobody looks for another one.
    pub v4: ServiceRange,
    /// The same of IPv6.
    pub v6: ServiceRange,
}
plain!(ServiceState { on: u32, reserved: u32, fresh_until: u64, v4: ServiceRange, v6: ServiceRange });

impl ServiceState {
    /// Nothing is looked for.
    pub const OFF: Self =
        Self { on: 0, reserved: 0, fresh_until: 0, v4: ServiceRange::NONE, v6: ServiceRange::NONE };
}

/// Addresses that agree with `member` in every bit of `mask`.
///
/// A range that has to hold more gets fewer bits in `mask` and keeps its `member`: so each word that a program reads
/// meanwhile makes it wider, and no packet of a flow that is translated is missed for a moment.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServiceRange {
    /// One of the addresses.
    pub member: Addr,
    /// The bits that all of them share. Bits of which every one is set in a range that holds nothing, too.
    pub mask: Addr,
}
plain!(ServiceRange { member: Addr, mask: Addr });

impl ServiceRange {
    /// Holds the unspecified address of IPv6 alone, to which nobody sends.
    pub const NONE: Self = Self { member: Addr::UNSPECIFIED, mask: Addr { octets: [0xff; 16] } };

    /// Returns true if the range holds the address.
    #[inline(always)]
    #[must_use]
    pub fn holds(&self, addr: &Addr) -> bool {
        let (member, mask, addr) = (self.member.as_words(), self.mask.as_words(), addr.as_words());
        let differs = |word: usize| (member[word] ^ addr[word]) & mask[word];
        differs(3) | differs(2) | differs(1) | differs(0) == 0
    }

    /// The range that holds `addr`, too.
    #[must_use]
    pub fn with(self, addr: Addr) -> Self {
        if self == Self::NONE {
            return Self { member: addr, ..self };
        }
        let (member, mask, addr) = (self.member.words(), self.mask.words(), addr.words());
        let mut words = [0; 4];
        for (word, shared) in words.iter_mut().enumerate() {
            *shared = mask[word] & !(member[word] ^ addr[word]);
        }
        Self { mask: Addr::from_words(words), ..self }
    }
}

/// Key of `SERVICES`: what a pod addresses.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ServiceKey {
    /// The Service's address.
    pub address: Addr,
    /// Its port, host order.
    pub port: u16,
    /// IP protocol number: TCP (6), UDP (17) or SCTP (132).
    pub protocol: u16,
}
plain!(ServiceKey { address: Addr, port: u16, protocol: u16 });

/// Value of `SERVICES`: one port of a Service, by one of its addresses.
///
/// Its backends are in `BACKENDS` in slots `0..count`. A backend that comes is written into slot `count` before `count`
/// is; where one goes, the last one is written into its slot, `count` after that, and the last slot is deleted then. So
/// a change of one endpoint is three writes, and between any two of them every slot that is drawn has a backend: a
/// program that finds a slot deleted read an older `count`, and takes the slot again within the present one.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServiceValue {
    /// The key once more, and first, as [`crate::PodValue::address`].
    pub key: ServiceKey,
    /// Number of this entry in the keys of `BACKENDS`, `MEMBERS`, `AFFINITY` and `SERVICE_STATS`. Never 0, and not
    /// given to another one while `TRANSLATIONS` may name it.
    pub id: u32,
    /// Backends.
    pub count: u32,
    /// Bits of [`service_flags`].
    pub flags: u32,
    /// For how many seconds after its last new flow a client stays with its backend; 0 without session affinity. With
    /// it every backend is in `MEMBERS`, too.
    pub affinity: u32,
}
plain!(ServiceValue { key: ServiceKey, id: u32, count: u32, flags: u32, affinity: u32 });

/// Bits of [`ServiceValue::flags`].
pub mod service_flags {
    /// New flows take the stack: the Service has no endpoints that may be used here, was deleted or switched off, or is
    /// something that the programs do not do. Flows that are translated already go on.
    pub const STACK: u32 = 1;
    /// A new flow of a protocol without connections (UDP) takes the stack, and is remembered as one that does
    /// ([`super::flow_state::STACK`]). Set for a moment when the entry is new, while user space enters the flows that
    /// connection tracking has: none of those changes its backend.
    pub const LEARN: u32 = 1 << 1;
}

/// Key of `BACKENDS`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BackendKey {
    /// [`ServiceValue::id`].
    pub service: u32,
    /// Which of its backends, from 0 on.
    pub slot: u32,
}
plain!(BackendKey { service: u32, slot: u32 });

/// Value of `BACKENDS`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BackendValue {
    /// The key once more, and first, as [`crate::PodValue::address`].
    pub key: BackendKey,
    /// Its address, of the Service's family: a pod's, a node's, or any other.
    pub address: Addr,
    /// Its port, host order.
    pub port: u16,
    /// Zero; keeps the size a multiple of four.
    pub reserved: u16,
}
plain!(BackendValue { key: BackendKey, address: Addr, port: u16, reserved: u16 });

/// Key of `MEMBERS`: a backend of a Service with session affinity. Its value is the slot.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MemberKey {
    /// The backend's address.
    pub address: Addr,
    /// [`ServiceValue::id`].
    pub service: u32,
    /// The backend's port, host order.
    pub port: u16,
    /// Zero; keeps the size a multiple of four.
    pub reserved: u16,
}
plain!(MemberKey { address: Addr, service: u32, port: u16, reserved: u16 });

/// Key of `AFFINITY`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AffinityKey {
    /// The pod that addressed the Service.
    pub client: Addr,
    /// [`ServiceValue::id`].
    pub service: u32,
}
plain!(AffinityKey { client: Addr, service: u32 });

/// Value of `AFFINITY`: the backend that a client's flows went to last. It counts only while it is in `MEMBERS`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AffinityValue {
    /// When its last new flow was: nanoseconds of `CLOCK_MONOTONIC`.
    pub last_used: u64,
    /// The backend's address.
    pub address: Addr,
    /// The backend's port, host order.
    pub port: u16,
    /// Zero; keeps the size a multiple of eight.
    pub reserved: [u16; 3],
}
plain!(AffinityValue { last_used: u64, address: Addr, port: u16, reserved: [u16; 3] });

/// Value of `TRANSLATIONS`, whose key is the [`FlowKey`] of the packets as the pod sends them: from it to the Service.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TranslationValue {
    /// [`fingerprint`] of the key, as [`crate::PodValue::address`].
    pub fingerprint: u64,
    /// When such a packet was seen last, to a second: nanoseconds of `CLOCK_MONOTONIC`.
    pub last_used: u64,
    /// The backend; unspecified with [`flow_state::STACK`].
    pub backend: Addr,
    /// [`ServiceValue::id`] of the Service it was chosen from; 0 for a flow straight to a pod, whose port is translated
    /// because the same ports are in use through a Service.
    pub service: u32,
    /// The slot that the backend had.
    pub slot: u32,
    /// The backend's port, host order.
    pub backend_port: u16,
    /// The port that the backend is addressed from: the pod's own, unless that is in use towards this backend.
    pub client_port: u16,
    /// Bits of [`flow_state`].
    pub state: u32,
}
plain!(TranslationValue {
    fingerprint: u64,
    last_used: u64,
    backend: Addr,
    service: u32,
    slot: u32,
    backend_port: u16,
    client_port: u16,
    state: u32
});

/// Value of `ANSWERS`, whose key is the [`FlowKey`] of the packets as the backend sends them: from it to the pod.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AnswerValue {
    /// As [`TranslationValue::fingerprint`].
    pub fingerprint: u64,
    /// As [`TranslationValue::last_used`].
    pub last_used: u64,
    /// The address that the pod sent to.
    pub service: Addr,
    /// The port that the pod sent to, host order.
    pub service_port: u16,
    /// The port that the pod sent from, host order.
    pub client_port: u16,
    /// Bits of [`flow_state`].
    pub state: u32,
}
plain!(AnswerValue {
    fingerprint: u64,
    last_used: u64,
    service: Addr,
    service_port: u16,
    client_port: u16,
    state: u32
});

/// Bits of [`TranslationValue::state`] and [`AnswerValue::state`], each about what was seen in its own direction.
pub mod flow_state {
    /// The sender said that it sends no more (TCP FIN, SCTP SHUTDOWN).
    pub const FINISHED: u32 = 1;
    /// The flow is over (TCP RST, SCTP ABORT or SHUTDOWN COMPLETE).
    pub const RESET: u32 = 1 << 1;
    /// Packets of the flow take the stack; there is no entry in `ANSWERS`.
    pub const STACK: u32 = 1 << 2;
    /// A packet was seen; never set in an answer's entry before the first answer.
    pub const SEEN: u32 = 1 << 3;
    /// Of an answer's entry: such packets answer a connection straight to the pod, which was there before. They are
    /// delivered as they are, and no flow to a Service may have their ports.
    pub const DIRECT: u32 = 1 << 4;
}

/// Key of `FRAGMENTS`: later fragments of an answer, which have no ports. Its value is the [`Addr`] of the Service.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FragmentKey {
    /// The backend.
    pub source: Addr,
    /// The pod.
    pub destination: Addr,
    /// Identification of the packet that was cut.
    pub id: u32,
    /// IP protocol number.
    pub protocol: u32,
}
plain!(FragmentKey { source: Addr, destination: Addr, id: u32, protocol: u32 });

/// Value of `SERVICE_STATS`, whose key is [`ServiceValue::id`]; of each CPU.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ServiceCounters {
    /// New flows that were translated.
    pub translated: u64,
    /// New flows that were left to the stack: [`service_flags`], a pod that meets itself, an endpoint that needs what
    /// the programs do not do, a table without room.
    pub stack: u64,
    /// New flows whose ports were in use towards the backend already, so that it sees another one.
    pub clashes: u64,
}
plain!(ServiceCounters { translated: u64, stack: u64, clashes: u64 });

impl ServiceCounters {
    /// Counters of a new Service.
    pub const ZERO: Self = Self { translated: 0, stack: 0, clashes: 0 };
}

/// The one value of `SERVICE_SCRATCH`, of each CPU: what the programs hold while they translate a packet. It is a map
/// because their stack has no room for it; what is in it means nothing to anybody else.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServiceScratch {
    /// 1 while a program uses it: on a kernel with PREEMPT_RT another one may interrupt that.
    pub is_taken: u32,
    /// A copy of the Service's entry.
    pub service: ServiceValue,
    /// Key of the packets that the pod sends.
    pub key: FlowKey,
    /// Key of the backend's answers.
    pub answers: FlowKey,
    /// The flow's entry, found or to be made.
    pub translation: TranslationValue,
    /// Its answers' entry, found or to be made.
    pub answer: AnswerValue,
    /// The entry of a client's affinity to be made.
    pub chosen: AffinityValue,
    /// A copy of the backend's entry.
    pub backend: BackendValue,
    /// The key of a client's affinity.
    pub affinity: AffinityKey,
    /// The key of a backend of a Service with affinity.
    pub member: MemberKey,
    /// The key of the fragments of an answer.
    pub fragment: FragmentKey,
}
plain!(ServiceScratch {
    is_taken: u32,
    service: ServiceValue,
    key: FlowKey,
    answers: FlowKey,
    translation: TranslationValue,
    answer: AnswerValue,
    chosen: AffinityValue,
    backend: BackendValue,
    affinity: AffinityKey,
    member: MemberKey,
    fragment: FragmentKey,
});

/// A number that flows of different keys have in common about never: by it a program knows that what it read from an
/// entry is of this flow, and not of one that got the entry's memory meanwhile.
#[inline(always)]
#[must_use]
pub const fn fingerprint(key: &FlowKey) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let (source, destination) = (key.source.as_words(), key.destination.as_words());
    let ports = (key.source_port as u64) << 48 | (key.destination_port as u64) << 32 | key.protocol as u64;
    let mut sum = ports;
    let mut word = 0;
    while word < 4 {
        sum = (sum ^ (source[word] as u64) << 32 ^ destination[word] as u64).wrapping_mul(FACTOR);
        sum ^= sum >> 29;
        word += 1;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_grows_to_hold_every_address_and_keeps_its_member() {
        let addresses = [[10, 96, 0, 1], [10, 96, 0, 10], [10, 100, 3, 7]].map(Addr::v4);
        let mut range = ServiceRange::NONE;
        for (known, addr) in addresses.iter().enumerate() {
            range = range.with(*addr);
            assert!(addresses[..=known].iter().all(|addr| range.holds(addr)));
            assert_eq!(range.member, addresses[0]);
        }
        assert!(!range.holds(&Addr::v4([10, 32, 0, 1])) && !range.holds(&Addr::v4([192, 168, 0, 1])));
        assert!(!ServiceRange::NONE.holds(&Addr::v4([10, 96, 0, 1])));
    }

    #[test]
    fn flows_that_differ_in_anything_have_other_fingerprints() {
        let key = FlowKey::between(Addr::v4([10, 0, 0, 1]), Addr::v4([10, 0, 0, 2]), 6).with_ports(80, 4000);
        let others = [
            key.reversed(),
            key.with_ports(80, 4001),
            key.with_ports(4000, 80),
            FlowKey { protocol: 17, ..key },
            FlowKey { source: Addr::v4([10, 0, 0, 3]), ..key },
        ];
        assert!(others.iter().all(|other| fingerprint(other) != fingerprint(&key)));
        assert_eq!(fingerprint(&key.reversed().reversed()), fingerprint(&key));
    }
}
