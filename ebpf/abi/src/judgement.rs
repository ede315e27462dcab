//! The judgement of packets by policies: connections, denials and counters beside the tables of [`crate::policy`].

use crate::{Addr, FlowKey, plain::plain};

/// Buckets of one pod in `STATES`, a power of two.
pub const STATE_BUCKETS: u32 = 1_024;
/// Connections in one bucket.
pub const STATE_WAYS: usize = 8;
/// [`State::seen`] counts in units of so many nanoseconds, as a power of two: 134 ms.
pub const STATE_TICK: u32 = 27;

/// Key of `STATES`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StateKey {
    /// The host veth of the judged pod: no pod's connections take another one's room.
    pub ifindex: u32,
    /// The bucket, by [`crate::fingerprint`].
    pub bucket: u32,
}
plain!(StateKey { ifindex: u32, bucket: u32 });

/// Value of `STATES`: a few connections. One that is idle for long gives its place to a new one, so nobody collects.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateValue {
    /// The key once more, and first, for the comparison that [`crate::PodValue::address`] explains.
    pub key: StateKey,
    /// The connections.
    pub ways: [State; STATE_WAYS],
}
plain!(StateValue { key: StateKey, ways: [State; STATE_WAYS] });
// SAFETY: an array of a type without padding has none.
unsafe impl crate::Plain for [State; STATE_WAYS] {}

/// A connection.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct State {
    /// [`crate::fingerprint`] of the packets of whoever opened it; 0 for a place that is free.
    pub fingerprint: u64,
    /// The time of its last packet, in units of [`STATE_TICK`]; with [`state_flags::SOCKET`] that of the last look at
    /// the socket.
    pub seen: u32,
    /// Bits of [`state_flags`].
    pub flags: u32,
}
plain!(State { fingerprint: u64, seen: u32, flags: u32 });

/// Bits of [`State::flags`].
pub mod state_flags {
    /// It was answered.
    pub const ANSWERED: u32 = 1;
    /// Whoever opened it went on after it was answered.
    pub const STREAM: u32 = 1 << 1;
    /// A process of the node opened it: no rule forbids that.
    pub const NODE: u32 = 1 << 2;
    /// TCP: the entry is a cache, unless [`HELD`] is set too.
    pub const TCP: u32 = 1 << 3;
    /// TCP: the pod's socket confirmed it.
    pub const SOCKET: u32 = 1 << 4;
    /// TCP: the pod has no socket of these ports, as where a sidecar takes the traffic, so the entry is all there is.
    pub const HELD: u32 = 1 << 5;
}

/// Value of `SOCKETS`, which the kernel keeps with a pod's TCP socket.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SocketNote {
    /// An [`Opener`] by number; 0 while nobody looked.
    pub opener: u32,
}
plain!(SocketNote { opener: u32 });

/// Whoever opened a connection.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opener {
    /// The pod.
    Pod = 1,
    /// The other end.
    Peer = 2,
    /// A process of the pod's node.
    Node = 3,
}

/// Key of `DENIALS`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DenialKey {
    /// The other end.
    pub peer: Addr,
    /// The host veth of the judged pod.
    pub ifindex: u32,
    /// Destination port; 0 for protocols without ports.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// A [`crate::policy::Direction`] by number.
    pub direction: u8,
}
plain!(DenialKey { peer: Addr, ifindex: u32, port: u16, protocol: u8, direction: u8 });

/// Value of `DENIALS`: packets that did not pass, as far as rules tell them apart. The oldest go first.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DenialValue {
    /// Packets.
    pub packets: u64,
    /// The time of the last one: nanoseconds of `CLOCK_MONOTONIC`.
    pub last: u64,
    /// The subject by which the last one was judged.
    pub subject: u32,
    /// The rule that forbade it; 0 if no rule allowed it.
    pub rule: u32,
    /// A [`Denied`] by number.
    pub reason: u32,
    /// Zero; keeps the size a multiple of eight.
    pub reserved: u32,
}
plain!(DenialValue { packets: u64, last: u64, subject: u32, rule: u32, reason: u32, reserved: u32 });

/// Reasons of denials.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denied {
    /// The rules do not allow it, and it answers nothing.
    ByRules = 1,
    /// The rules of the pod are not known: it is closed.
    Unknown = 2,
    /// The pod has as many connections as it may.
    Full = 3,
    /// A fragment whose first one did not pass, or that hides its ports.
    Fragment = 4,
}

/// Places at which a packet of a pod is judged.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Behind the node's stack, with the pod's address.
    Routed = 0,
    /// As the pod has sent it: the stack may still translate its destination.
    Sent = 1,
    /// Behind the node's stack, which has given it another source: connections are known by the one that the pod has
    /// sent it with.
    Masqueraded = 2,
    /// As the pod has sent it, to a Service, which the stack translates: it is judged behind that.
    Service = 3,
}

/// Value of `RULE_HITS`, whose key is [`crate::policy::PolicyRule::rule`]; of each CPU.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RuleHits {
    /// Packets that the rule decided about.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}
plain!(RuleHits { packets: u64, bytes: u64 });

/// Value of `VERDICTS`: the packets of a flow that passed at a pod, and would again. Pairs of ends that hash to one
/// place share it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VerdictValue {
    /// Their flow.
    pub flow: FlowKey,
    /// The host veth of the judged pod.
    pub ifindex: u32,
    /// The pod's subject.
    pub subject: u32,
    /// How the pod is isolated, as bits of [`crate::pod_flags::OF_POLICIES`].
    pub judged: u32,
    /// A [`crate::policy::Direction`] by number.
    pub direction: u32,
    /// The time of the judgement in jiffies.
    pub asked: u64,
    /// What `POLICY_EPOCH` had before the tables were asked.
    pub epoch: u64,
    /// The rule that decided; 0 for none.
    pub rule: u32,
    /// As [`PolicyScratch::is_answer`].
    pub is_answer: u32,
    /// Packets and bytes since the judgement, which `RULE_HITS` does not have yet.
    pub hits: RuleHits,
}
plain!(VerdictValue {
    flow: FlowKey,
    ifindex: u32,
    subject: u32,
    judged: u32,
    direction: u32,
    asked: u64,
    epoch: u64,
    rule: u32,
    is_answer: u32,
    hits: RuleHits,
});

/// The one value of `POLICY_SCRATCH`, of each CPU: the working memory of a judgement. The programs' stack has no room
/// for it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PolicyScratch {
    /// 1 while a program uses it: on a kernel with PREEMPT_RT another one may interrupt that.
    pub is_taken: u32,
    /// The host veth of the judged pod.
    pub ifindex: u32,
    /// The pod's subject.
    pub subject: u32,
    /// Bits of [`crate::pod_flags`] of the pod.
    pub flags: u32,
    /// As [`crate::PodValue::netns`].
    pub netns: u32,
    /// A [`crate::policy::Direction`] by number.
    pub direction: u32,
    /// 1 if a process of the node sent the packet.
    pub is_by_node: u32,
    /// Bytes of the packet.
    pub length: u32,
    /// The rule that decided last; 0 for none.
    pub rule: u32,
    /// Identification of the fragment.
    pub fragment: u32,
    /// What `POLICY_EPOCH` had before the tables were asked.
    pub epoch: u64,
    /// The packet's flow; of an ICMP error, the flow that it is about, in the error's direction.
    pub flow: FlowKey,
    /// The flow that the packet would answer.
    pub opened: FlowKey,
    /// The key of its bucket.
    pub bucket: StateKey,
    /// A bucket to be made.
    pub made: StateValue,
    /// The key of a denial.
    pub denial: DenialKey,
    /// A denial to be recorded.
    pub denied: DenialValue,
    /// The packet's header, as the programs read it.
    pub ip: [u32; 16],
    /// `struct bpf_sock_tuple`.
    pub tuple: [u32; 9],
    /// A [`Stage`] by number, of packets that a pod sends.
    pub stage: u32,
    /// A result on its way from one function to another. The verifier does not follow each value of it apart then.
    pub result: u32,
    /// 1 if the packet passes for what came the other way, so that its destination is no question any more.
    pub is_answer: u32,
}
plain!(PolicyScratch {
    is_taken: u32,
    ifindex: u32,
    subject: u32,
    flags: u32,
    netns: u32,
    direction: u32,
    is_by_node: u32,
    length: u32,
    rule: u32,
    fragment: u32,
    epoch: u64,
    flow: FlowKey,
    opened: FlowKey,
    bucket: StateKey,
    made: StateValue,
    denial: DenialKey,
    denied: DenialValue,
    ip: [u32; 16],
    tuple: [u32; 9],
    stage: u32,
    result: u32,
    is_answer: u32,
});
