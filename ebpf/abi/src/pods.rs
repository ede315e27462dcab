use crate::{Addr, plain::plain};

/// Value of `PODS`; the key is the pod's [`crate::Addr`].
///
/// User space writes an entry as a whole, and never takes a word of the second group back while the entry lives: those
/// are the programs', each in an aligned word of its own, so that it is set without a lock and without losing
/// another's.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PodValue {
    /// The key once more, and first: the kernel may use a deleted entry again for another address while a program still
    /// reads it (6.1 and newer), and fills it from its beginning. Whoever reads compares this last.
    pub address: Addr,
    /// Generation of the address's assignment; user space deletes by compare.
    pub generation: u64,
    /// Interface index of the pod's veth on the node's side.
    pub ifindex: u32,
    /// Bits of [`pod_flags`] that user space sets.
    pub flags: u32,
    /// Largest packet, from the IP header on, that the pod's interface takes, in bytes.
    pub mtu: u32,
    /// The set of policies that isolate the pod; 0 for none.
    pub subject: u32,
    /// One more than the number by which the node's network namespace knows the pod's (`RTM_NEWNSID`), where the pod's
    /// sockets are looked for; 0 where it is not known.
    pub netns: u32,
    /// Says whether `FLOWS` ([`look::FLOWS`]) and `FLOW_PAIRS` have, or had, entries about packets that the pod sends.
    /// Programs look up only the maps that are named here.
    pub sends_answers: u32,
    /// The same of what the pod receives.
    pub receives_answers: u32,
    /// MAC address of the pod's interface, as last seen from the pod.
    pub pod_mac: [u8; 6],
    /// MAC address of the host end, which the pod uses as its gateway's.
    pub host_mac: [u8; 6],
}
plain!(PodValue {
    address: Addr,
    generation: u64,
    ifindex: u32,
    flags: u32,
    mtu: u32,
    subject: u32,
    netns: u32,
    sends_answers: u32,
    receives_answers: u32,
    pod_mac: [u8; 6],
    host_mac: [u8; 6]
});

impl PodValue {
    /// All zero: what an entry is filled in from.
    pub const EMPTY: Self = Self {
        address: Addr::UNSPECIFIED,
        generation: 0,
        ifindex: 0,
        flags: 0,
        mtu: 0,
        subject: 0,
        netns: 0,
        sends_answers: 0,
        receives_answers: 0,
        pod_mac: [0; 6],
        host_mac: [0; 6],
    };

    /// Returns the marks that the programs have set, as [`pod_flags::SENDS_ANSWERS`], [`pod_flags::RECEIVES_ANSWERS`],
    /// [`pod_flags::IN_PAIRS`], [`pod_flags::USES_SERVICES`] and [`pod_flags::HAS_CLASHES`].
    #[must_use]
    pub const fn marks(&self) -> u32 {
        let sends = if self.sends_answers & look::FLOWS == 0 { 0 } else { pod_flags::SENDS_ANSWERS };
        let receives = if self.receives_answers & look::FLOWS == 0 { 0 } else { pod_flags::RECEIVES_ANSWERS };
        let both = self.sends_answers | self.receives_answers;
        let in_pairs = if both & look::PAIRS == 0 { 0 } else { pod_flags::IN_PAIRS };
        let uses_services = if both & look::SERVICES == 0 { 0 } else { pod_flags::USES_SERVICES };
        let clashes = if self.sends_answers & look::CLASHES == 0 { 0 } else { pod_flags::HAS_CLASHES };
        sends | receives | in_pairs | uses_services | clashes
    }

    /// The same entry with just these [`PodValue::marks`].
    #[must_use]
    pub const fn with_marks(self, marks: u32) -> Self {
        let pairs = if marks & pod_flags::IN_PAIRS == 0 { 0 } else { look::PAIRS };
        let services = if marks & pod_flags::USES_SERVICES == 0 { 0 } else { look::SERVICES };
        let clashes = if marks & pod_flags::HAS_CLASHES == 0 { 0 } else { look::CLASHES };
        let both = pairs | services;
        let sends = if marks & pod_flags::SENDS_ANSWERS == 0 { 0 } else { look::FLOWS };
        let receives = if marks & pod_flags::RECEIVES_ANSWERS == 0 { 0 } else { look::FLOWS };
        Self { sends_answers: sends | both | clashes, receives_answers: receives | both, ..self }
    }
}

/// Value of `INTERFACES`; the key is the ifindex of a pod's host veth. It holds for everything that the pod sends, also
/// from an address that is not in `PODS`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InterfaceValue {
    /// The key once more, as [`PodValue::address`].
    pub ifindex: u32,
    /// Bits of [`pod_flags`].
    pub flags: u32,
    /// As [`PodValue::subject`], of what the pod sends.
    pub subject: u32,
    /// MAC address of the host end, which answers for the gateway.
    pub host_mac: [u8; 6],
    /// MAC address assigned to the pod's interface, the only one it may use under [`pod_flags::CHECK_MAC`].
    pub pod_mac: [u8; 6],
}
plain!(InterfaceValue { ifindex: u32, flags: u32, subject: u32, host_mac: [u8; 6], pod_mac: [u8; 6] });

/// Bits of [`PodValue::sends_answers`] and [`PodValue::receives_answers`]: the maps that are asked about a packet. Each
/// has a byte of its own, so that programs set one without losing the other.
pub mod look {
    /// `FLOWS`.
    pub const FLOWS: u32 = 1;
    /// `FLOW_PAIRS`.
    pub const PAIRS: u32 = 1 << 8;
    /// Both: where a packet may be recorded as one for the stack.
    pub const EVERYWHERE: u32 = FLOWS | PAIRS;
    /// `ANSWERS`: the pod has, or had, flows to Services that the programs translate.
    pub const SERVICES: u32 = 1 << 16;
    /// `TRANSLATIONS`, also for what goes straight to a pod; of what the pod sends alone. It has, or had, a flow to one
    /// beside another through a Service to the same backend from the same port.
    pub const CLASHES: u32 = 1 << 24;
}

/// Bits of [`PodValue::flags`] and [`InterfaceValue::flags`].
pub mod pod_flags {
    /// The pod's packets, both ways, take the node's stack (conf `shortcut: off`).
    pub const NO_SHORTCUT: u32 = 1;
    /// The source MAC must be the assigned one (conf `antispoof: mac`).
    pub const CHECK_MAC: u32 = 1 << 1;
    /// Any source address may leave the pod (conf `sourceCheck: off`).
    pub const ANY_SOURCE: u32 = 1 << 2;
    /// The pod may ask for an address: its DHCP broadcasts go to the node's stack (conf `ipam.type: dhcp`).
    pub const DHCP: u32 = 1 << 3;
    /// Policies judge what the pod receives, by [`super::PodValue::subject`].
    pub const JUDGE_INGRESS: u32 = 1 << 8;
    /// Policies judge what the pod sends.
    pub const JUDGE_EGRESS: u32 = 1 << 9;
    /// What an isolated pod sends to an address of its own node passes, whatever the rules say
    /// (`own_node_egress = "pass"`).
    pub const OWN_NODE: u32 = 1 << 10;
    /// Either of them: the pod's connections are remembered, too.
    pub const JUDGED: u32 = JUDGE_INGRESS | JUDGE_EGRESS;
    /// All that policies set.
    pub const OF_POLICIES: u32 = JUDGED | OWN_NODE;
    /// Never in the map: [`super::PodValue::sends_answers`] where commands print all flags as one number.
    pub const SENDS_ANSWERS: u32 = 1 << 4;
    /// The same of [`super::PodValue::receives_answers`].
    pub const RECEIVES_ANSWERS: u32 = 1 << 5;
    /// The same of [`super::look::PAIRS`] in either word.
    pub const IN_PAIRS: u32 = 1 << 6;
    /// The same of [`super::look::SERVICES`] in either word.
    pub const USES_SERVICES: u32 = 1 << 7;
    /// The same of [`super::look::CLASHES`].
    pub const HAS_CLASHES: u32 = 1 << 8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_fills_one_cache_line_and_its_marks_come_back_as_they_went() {
        assert_eq!(size_of::<PodValue>(), 64);
        for marks in [
            0,
            pod_flags::SENDS_ANSWERS,
            pod_flags::RECEIVES_ANSWERS,
            0b11_0000,
            0b111_0000,
            0b101_0000,
            0b1100_0000,
        ] {
            assert_eq!(PodValue::EMPTY.with_marks(marks).marks(), marks);
        }
    }
}
