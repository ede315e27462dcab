/// Version of every layout and number in this crate; part of the pin directory's name (`abi<N>`).
pub const ABI_VERSION: u32 = 5;

/// Licence string of the object. The kernel offers its GPL-only helpers to this one
/// (`include/linux/license.h`, `license_is_gpl_compatible`).
pub const LICENSE: &str = "Dual MIT/GPL";

/// Protocol number of every kernel route we add (`rtm_protocol`; free in `rt_protos`).
pub const ROUTE_PROTOCOL: u8 = 150;

/// Priority (`tcm_info` upper half) of our clsact filters.
pub const FILTER_PRIORITY: u16 = 5230;
/// Handle of our clsact filters.
pub const FILTER_HANDLE: u32 = 1;

/// The pods' default gateway, the same on every node: answered by `from_pod`, on no interface.
pub const GATEWAY_V4: [u8; 4] = [169, 254, 1, 1];
/// The IPv6 form of [`GATEWAY_V4`]: `fe80::1`.
pub const GATEWAY_V6: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// Bytes that the tunnel adds to a pod's IP packet over IPv4: outer IP header, UDP, VXLAN, inner Ethernet header
/// (RFC 7348).
pub const TUNNEL_OVERHEAD_V4: u32 = 20 + 8 + 8 + 14;
/// The same over IPv6.
pub const TUNNEL_OVERHEAD_V6: u32 = 40 + 8 + 8 + 14;

/// Default capacity of `PODS`, `INTERFACES` and `POD_STATS`; settable at first init.
pub const MAX_PODS: u32 = 65_536;
/// Default capacity of `ROUTES`; settable at first init.
pub const MAX_ROUTES: u32 = 65_536;
/// Default capacity of `FLOWS`; settable at first init. Buckets for as many cost 2 MB, an entry 128 bytes when there
/// is one.
pub const MAX_FLOWS: u32 = 131_072;

/// Capacity of `FLOW_PAIRS`, two entries for each pair of hosts. Buckets for as many cost 256 KB.
pub const MAX_FLOW_PAIRS: u32 = 16_384;

/// Entries of `POD_SLOTS`, a power of two: all are there for each CPU from the start.
pub const POD_SLOTS: u32 = 512;
/// Entries of `NEXT_HOPS`, a power of two.
pub const MAX_NEXT_HOPS: u32 = 256;

/// Capacity of `SERVICES` and `SERVICE_STATS`: ports of Services, each counted once for each of its addresses.
pub const MAX_SERVICES: u32 = 16_384;
/// Capacity of `BACKENDS`, over all Services.
pub const MAX_BACKENDS: u32 = 65_536;
/// Capacity of `MEMBERS`: backends of Services with session affinity.
pub const MAX_MEMBERS: u32 = 16_384;
/// Entries of `AFFINITY`, all of which are there from the start: clients times Services with session affinity.
pub const MAX_AFFINITY: u32 = 4_096;
/// Capacity of `TRANSLATIONS` and of `ANSWERS`: flows of this node's pods to Services. Where it is full, new ones take
/// the stack.
pub const MAX_TRANSLATIONS: u32 = 32_768;
/// Entries of `FRAGMENTS`, all of which are there from the start.
pub const MAX_FRAGMENTS: u32 = 1_024;

/// Capacity of `PEERS`. Buckets for as many cost 4 MB, an entry 96 bytes when there is one.
pub const MAX_PEERS: u32 = 262_144;
/// Capacity of `PEER_NETS`.
pub const MAX_PEER_NETS: u32 = 65_536;
/// Capacity of `RULES`: twice what is in force, so that a change fits beside it.
pub const MAX_RULES: u32 = 65_536;
/// Capacity of `RULE_HITS`: rules beyond are not counted.
pub const MAX_RULE_HITS: u32 = 16_384;
/// Buckets of `STATES`: those of 128 pods whose connections fill them all.
pub const MAX_STATES: u32 = 128 * crate::STATE_BUCKETS;
/// Entries of `DENIALS`, all of which are there from the start.
pub const MAX_DENIALS: u32 = 4_096;
/// Entries of `PASSED_FRAGMENTS`, all of which are there from the start.
pub const MAX_PASSED_FRAGMENTS: u32 = 4_096;

/// Entries of `VERDICTS` of each CPU, a power of two.
pub const MAX_VERDICTS: u32 = 1_024;

/// Names of the maps: in the object, as pins, and in documentation.
pub mod maps {
    /// Hash, pod address to [`crate::PodValue`].
    pub const PODS: &str = "PODS";
    /// Hash, host ifindex to [`crate::InterfaceValue`].
    pub const INTERFACES: &str = "INTERFACES";
    /// LPM trie, [`crate::Prefix`] to [`crate::RouteValue`].
    pub const ROUTES: &str = "ROUTES";
    /// Array of one [`crate::ConfigSlots`].
    pub const CONFIG: &str = "CONFIG";
    /// Per-CPU array of [`crate::Counter`], indexed by [`crate::stats_index`].
    pub const STATS: &str = "STATS";
    /// Per-CPU array of [`crate::PodSlot`]: the counters of most pods, indexed by [`crate::pod_slot`].
    pub const POD_SLOTS: &str = "POD_SLOTS";
    /// Per-CPU hash, host ifindex to [`crate::PodSlot`]: the counters of pods whose slot is another's.
    pub const POD_STATS: &str = "POD_STATS";
    /// Hash, [`crate::FlowKey`] to [`crate::FlowValue`].
    pub const FLOWS: &str = "FLOWS";
    /// Hash, [`crate::FlowKey`] without ports to [`crate::FlowValue`]: pairs of hosts all of whose packets of a
    /// protocol take the stack, since `FLOWS` had no room for one of their flows.
    pub const FLOW_PAIRS: &str = "FLOW_PAIRS";
    /// Per-CPU array of [`crate::NextHopValue`].
    pub const NEXT_HOPS: &str = "NEXT_HOPS";
    /// Array of one [`crate::ServiceState`].
    pub const SERVICE_STATE: &str = "SERVICE_STATE";
    /// Hash, [`crate::ServiceKey`] to [`crate::ServiceValue`].
    pub const SERVICES: &str = "SERVICES";
    /// Hash, [`crate::BackendKey`] to [`crate::BackendValue`].
    pub const BACKENDS: &str = "BACKENDS";
    /// Hash, [`crate::MemberKey`] to the slot.
    pub const MEMBERS: &str = "MEMBERS";
    /// LRU hash, [`crate::AffinityKey`] to [`crate::AffinityValue`].
    pub const AFFINITY: &str = "AFFINITY";
    /// Hash, [`crate::FlowKey`] of what a pod sends to a Service to [`crate::TranslationValue`].
    pub const TRANSLATIONS: &str = "TRANSLATIONS";
    /// Hash, [`crate::FlowKey`] of what a backend answers to [`crate::AnswerValue`].
    pub const ANSWERS: &str = "ANSWERS";
    /// LRU hash, [`crate::FragmentKey`] to the Service's [`crate::Addr`].
    pub const FRAGMENTS: &str = "FRAGMENTS";
    /// Per-CPU hash, [`crate::ServiceValue::id`] to [`crate::ServiceCounters`].
    pub const SERVICE_STATS: &str = "SERVICE_STATS";
    /// Per-CPU array of one [`crate::ServiceScratch`].
    pub const SERVICE_SCRATCH: &str = "SERVICE_SCRATCH";
    /// Hash, peer address to [`crate::policy::PeerValue`].
    pub const PEERS: &str = "PEERS";
    /// LPM trie, [`crate::Prefix`] to [`crate::policy::PeerNetValue`].
    pub const PEER_NETS: &str = "PEER_NETS";
    /// Hash, [`crate::policy::RulesKey`] to [`crate::policy::RulesValue`].
    pub const RULES: &str = "RULES";
    /// Per-CPU hash, rule to [`crate::RuleHits`].
    pub const RULE_HITS: &str = "RULE_HITS";
    /// Hash, [`crate::StateKey`] to [`crate::StateValue`].
    pub const STATES: &str = "STATES";
    /// Storage of sockets, [`crate::SocketNote`].
    pub const SOCKETS: &str = "SOCKETS";
    /// Per-CPU LRU hash, [`crate::DenialKey`] to [`crate::DenialValue`].
    pub const DENIALS: &str = "DENIALS";
    /// LRU hash, [`crate::FragmentKey`] of first fragments that passed out of a pod to the pod's ifindex.
    pub const PASSED_FRAGMENTS: &str = "PASSED_FRAGMENTS";
    /// Per-CPU array of [`crate::VerdictValue`].
    pub const VERDICTS: &str = "VERDICTS";
    /// Array of one number, another one after each change of a table of policies.
    pub const POLICY_EPOCH: &str = "POLICY_EPOCH";
    /// Per-CPU array of one [`crate::PolicyScratch`].
    pub const POLICY_SCRATCH: &str = "POLICY_SCRATCH";
    /// Those that every node has.
    pub const ALL: [&str; 21] = [
        PODS,
        INTERFACES,
        ROUTES,
        CONFIG,
        STATS,
        POD_SLOTS,
        POD_STATS,
        FLOWS,
        FLOW_PAIRS,
        NEXT_HOPS,
        SERVICE_STATE,
        SERVICES,
        BACKENDS,
        MEMBERS,
        AFFINITY,
        TRANSLATIONS,
        ANSWERS,
        FRAGMENTS,
        SERVICE_STATS,
        SERVICE_SCRATCH,
        POLICY_SCRATCH,
    ];
    /// Those that a node has from its first policy on.
    pub const OF_POLICIES: [&str; 10] = [
        PEERS,
        PEER_NETS,
        RULES,
        RULE_HITS,
        STATES,
        SOCKETS,
        DENIALS,
        PASSED_FRAGMENTS,
        VERDICTS,
        POLICY_EPOCH,
    ];
}

/// Names of the programs: in the object, as pins, and in documentation.
pub mod programs {
    /// Ingress of a pod's host veth.
    pub const FROM_POD: &str = "from_pod";
    /// Egress of a pod's host veth.
    pub const TO_POD: &str = "to_pod";
    /// Ingress of the vxlan device.
    pub const FROM_OVERLAY: &str = "from_overlay";
    /// Egress of the vxlan device.
    pub const TO_OVERLAY: &str = "to_overlay";
    /// Ingress of an uplink.
    pub const FROM_UNDERLAY: &str = "from_underlay";
    /// Egress of an uplink.
    pub const TO_UNDERLAY: &str = "to_underlay";
    /// The function that judges by policies.
    pub const POLICY_JUDGE: &str = "policy_judge";
    /// The function of each program in whose place it is linked from a node's first policy on.
    pub const POLICY_VERDICT: &str = "policy_verdict";
    /// All of them.
    pub const ALL: [&str; 6] = [FROM_POD, TO_POD, FROM_OVERLAY, TO_OVERLAY, FROM_UNDERLAY, TO_UNDERLAY];
}
