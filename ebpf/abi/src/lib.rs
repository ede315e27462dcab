//! Interface between kernel programs and user space: map keys and values, names and numbers.
//!
//! Every type here is plain old data in a fixed layout: integers and byte arrays only, no padding
//! (proved at compile time by [`plain!`]), multi-byte integers in host order, addresses in network order.
//! A change of any layout or number raises [`ABI_VERSION`], and with it the pin directory.
#![no_std]

mod addr;
mod config;
mod flows;
mod judgement;
mod names;
mod next_hops;
mod outcome;
mod plain;
mod pods;
pub mod policy;
mod routes;
mod services;
mod stats;

pub use addr::{Addr, Prefix};
pub use config::{CONFIG_SLOTS, Config, ConfigSlots, features};
pub use flows::{FlowKey, FlowValue};
pub use judgement::{
    DenialKey, DenialValue, Denied, Opener, PolicyScratch, RuleHits, STATE_BUCKETS, STATE_TICK, STATE_WAYS,
    SocketNote, Stage, State, StateKey, StateValue, VerdictValue, state_flags,
};
pub use names::{
    ABI_VERSION, FILTER_HANDLE, FILTER_PRIORITY, GATEWAY_V4, GATEWAY_V6, LICENSE, MAX_AFFINITY, MAX_BACKENDS,
    MAX_DENIALS, MAX_FLOW_PAIRS, MAX_FLOWS, MAX_FRAGMENTS, MAX_MEMBERS, MAX_NEXT_HOPS, MAX_PASSED_FRAGMENTS,
    MAX_PEER_NETS, MAX_PEERS, MAX_PODS, MAX_ROUTES, MAX_RULE_HITS, MAX_RULES, MAX_SERVICES, MAX_STATES,
    MAX_TRANSLATIONS, MAX_VERDICTS, POD_SLOTS, ROUTE_PROTOCOL, TUNNEL_OVERHEAD_V4, TUNNEL_OVERHEAD_V6, maps,
    programs,
};
pub use next_hops::{FibLookup, NextHopValue};
pub use outcome::{DropReason, Hook, LinkReason, OUTCOMES, Outcome, StackReason, UnknownNumber, Verdict};
pub use plain::Plain;
pub use pods::{InterfaceValue, PodValue, look, pod_flags};
pub use routes::{Destination, RouteKind, RouteValue, Transport, route_flags};
pub use services::{
    AffinityKey, AffinityValue, AnswerValue, BackendKey, BackendValue, FragmentKey, MemberKey,
    SERVICES_TRUSTED, ServiceCounters, ServiceKey, ServiceRange, ServiceScratch, ServiceState, ServiceValue,
    TranslationValue, fingerprint, flow_state, service_flags,
};
pub use stats::{Counter, PodCounters, PodSlot, STATS_ENTRIES, pod_slot, stats_index};
