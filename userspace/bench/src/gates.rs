//! The gates, as data. The figures of traffic and programs come from measurements of the prototype (a ratio that good
//! code reaches on any machine), those of plugins from the times of host-local.

use crate::{figure::Limit, lanes, load::Load};

/// A candidate, its baseline, and the required ratios.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    /// A lane.
    pub candidate: &'static str,
    /// Another one.
    pub baseline: &'static str,
    /// Gate and goal of TCP_RR, if any.
    pub rr: Option<Limit>,
    /// Gate and goal of UDP_RR, if any.
    pub udp_rr: Option<Limit>,
    /// Gate and goal of TCP_CRR, if any.
    pub crr: Option<Limit>,
    /// Gate and goal of the stream, if any.
    pub stream: Option<Limit>,
}

impl Comparison {
    /// The limit of the ratio under `load`.
    #[must_use]
    pub const fn limit(&self, load: Load) -> Option<Limit> {
        match load {
            Load::TcpRr => self.rr,
            Load::UdpRr => self.udp_rr,
            Load::TcpCrr => self.crr,
            Load::Stream => self.stream,
            Load::StreamOnTwo | Load::PacketsOnTwo => None,
        }
    }
}

const fn at_least(gate: f64, goal: f64) -> Option<Limit> {
    Some(Limit::at_least(gate, goal))
}

/// A comparison that is shown only.
const fn free(candidate: &'static str, baseline: &'static str) -> Comparison {
    Comparison { candidate, baseline, rr: None, udp_rr: None, crr: None, stream: None }
}

/// The same pods with a Service before them and without.
const fn by_service(candidate: &'static str, baseline: &'static str) -> Comparison {
    Comparison {
        candidate,
        baseline,
        rr: at_least(0.95, 0.98),
        udp_rr: at_least(0.95, 0.98),
        crr: at_least(0.95, 0.98),
        stream: at_least(0.95, 0.98),
    }
}

/// The same pods with policies and without.
const fn by_policy(candidate: &'static str, baseline: &'static str) -> Comparison {
    Comparison {
        candidate,
        baseline,
        rr: at_least(0.99, 0.99),
        udp_rr: at_least(0.97, 0.98),
        crr: at_least(0.97, 0.98),
        stream: at_least(0.99, 0.99),
    }
}

/// Every comparison of traffic.
pub const TRAFFIC: &[Comparison] = &[
    Comparison {
        candidate: lanes::SAME_NODE,
        baseline: lanes::VETH,
        rr: at_least(0.94, 0.97),
        udp_rr: at_least(0.94, 0.97),
        crr: at_least(0.93, 0.97),
        stream: at_least(0.88, 0.95),
    },
    free(lanes::SAME_NODE_V6, lanes::VETH_V6),
    Comparison {
        candidate: lanes::SAME_NODE_RULES,
        baseline: lanes::BRIDGE_RULES,
        rr: at_least(1.22, 1.30),
        udp_rr: at_least(1.22, 1.30),
        crr: at_least(1.32, 1.42),
        stream: at_least(1.08, 1.15),
    },
    Comparison {
        candidate: lanes::OWN,
        baseline: lanes::FLANNEL,
        rr: at_least(1.48, 1.58),
        udp_rr: at_least(1.48, 1.58),
        crr: at_least(1.6, 1.75),
        stream: at_least(1.15, 1.25),
    },
    Comparison {
        candidate: lanes::OWN_RULES,
        baseline: lanes::FLANNEL_RULES,
        rr: at_least(1.8, 1.95),
        udp_rr: at_least(1.8, 1.95),
        crr: at_least(2.1, 2.35),
        stream: at_least(1.4, 1.4),
    },
    Comparison { stream: at_least(1.0, 1.12), ..free(lanes::OWN_WIRE, lanes::FLANNEL_WIRE) },
    free(lanes::OWN_PLAIN_WIRE, lanes::FLANNEL_PLAIN_WIRE),
    free(lanes::OWN, lanes::VETH),
    free(lanes::OWN_V6, lanes::FLANNEL_V6),
    Comparison {
        candidate: lanes::DEVICE,
        baseline: lanes::FLANNEL,
        rr: at_least(1.15, 1.25),
        udp_rr: at_least(1.15, 1.25),
        crr: at_least(1.15, 1.27),
        stream: at_least(1.0, 1.08),
    },
    free(lanes::DEVICE_WIRE, lanes::FLANNEL_WIRE),
    free(lanes::DEVICE_PLAIN_WIRE, lanes::FLANNEL_PLAIN_WIRE),
    Comparison {
        candidate: lanes::DIRECT,
        baseline: lanes::HOST_GATEWAY,
        rr: at_least(1.22, 1.30),
        udp_rr: at_least(1.22, 1.30),
        crr: at_least(1.22, 1.32),
        stream: at_least(1.05, 1.12),
    },
    free(lanes::DIRECT, lanes::VETH),
    by_service(lanes::SERVICE, lanes::SAME_NODE),
    by_service(lanes::SERVICE_FAR, lanes::OWN),
    free(lanes::SERVICE, lanes::PROXIES[0].0),
    free(lanes::SERVICE, lanes::PROXIES[1].0),
    free(lanes::SERVICE, lanes::PROXIES[2].0),
    free(lanes::SERVICE, lanes::PROXIES[3].0),
    free(lanes::SERVICE, lanes::PROXIES[4].0),
    free(lanes::SERVICE, lanes::PROXIES[5].0),
    by_policy(lanes::POLICY, lanes::SAME_NODE),
    by_policy(lanes::POLICY_FAR, lanes::OWN),
    free(lanes::DIRECT_V6, lanes::HOST_GATEWAY_V6),
];

/// ADD and DEL of naru-ipam together, by host-local's at the same number of addresses in use.
#[must_use]
pub fn beside_host_local(used: u32) -> Option<Limit> {
    let most = match used {
        0 => 0.6,
        1_000 => 0.2,
        10_000 => 0.03,
        _ => return None,
    };
    Some(Limit::at_most(most))
}

/// A store with many addresses in use, or with hardly any left, by an empty one.
pub const FULL_STORE: Limit = Limit::at_most(1.5);
/// A program with the most pods in its map by the same program with the fewest.
pub const MORE_PODS: Limit = Limit::at_most(1.15);
/// A program with the most prefixes by the same program with the fewest.
pub const MORE_PREFIXES: Limit = Limit::at_most(1.6);
/// A program with the most Services by the same program with the fewest.
pub const MORE_SERVICES: Limit = Limit::at_most(1.15);
/// Bytes of all maps with [`PODS`] pods.
pub const MAPS: Limit = Limit::at_most(10e6);
/// Resident bytes of the agent with [`PODS`] pods, and at the peak of its start.
pub const AGENT: Limit = Limit::at_most(20e6);
/// Pods of the node whose memory is measured.
pub const PODS: usize = 250;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_goal_asks_for_less_than_its_gate() {
        for comparison in TRAFFIC {
            for limit in Load::ALL.into_iter().filter_map(|load| comparison.limit(load)) {
                assert!(limit.gate.is_some_and(|gate| gate <= limit.goal), "{comparison:?}");
            }
        }
    }

    #[test]
    fn every_comparison_is_of_two_lanes_and_listed_once() {
        let pairs: Vec<_> = TRAFFIC.iter().map(|one| (one.candidate, one.baseline)).collect();
        for (place, pair) in pairs.iter().enumerate() {
            assert!(pair.0 != pair.1 && !pairs[..place].contains(pair), "{pair:?}");
        }
    }
}
