//! The choice of entries of `FLOWS` that may have outlived their flow.

use std::collections::BTreeSet;

use naru_abi::{FlowKey, FlowValue};

/// Time without a packet after which connection tracking is asked whether the flow still exists, in nanoseconds.
pub const IDLE: u64 = 10_000_000_000;

/// Protocols whose flows differ by ports or an identifier: ICMP, TCP, UDP, DCCP, ICMPv6, SCTP, UDP-Lite. Entries
/// without ports serve the fragments of such flows.
const WITH_PORTS: [u32; 7] = [1, 6, 17, 33, 58, 132, 136];

/// The result of looking through the entries.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Review {
    /// Idle flows, the longest idle first: each is over unless connection tracking knows it.
    pub ask: Vec<FlowKey>,
    /// Entries for fragments of flows that have no other entry any more.
    pub orphans: Vec<FlowKey>,
}

/// Looks through `entries` and chooses at most `limit` of them to ask about. `now` is read from the clock of
/// [`FlowValue::last_seen`].
#[must_use]
pub fn review(entries: &[(FlowKey, FlowValue)], now: u64, limit: usize) -> Review {
    let (flows, others): (Vec<_>, Vec<_>) = entries.iter().partition(|(key, _)| is_flow(key));
    let parents: BTreeSet<FlowKey> = flows.iter().map(|(key, _)| key.without_ports()).collect();
    let is_idle = |value: &FlowValue| now.saturating_sub(value.last_seen) > IDLE;
    let mut idle: Vec<_> = flows.into_iter().filter(|(_, value)| is_idle(value)).collect();
    idle.sort_by_key(|(_, value)| value.last_seen);
    let orphans = others.into_iter().filter(|(key, value)| is_idle(value) && !parents.contains(key));
    Review {
        ask: idle.into_iter().take(limit).map(|(key, _)| key).collect(),
        orphans: orphans.map(|(key, _)| key).collect(),
    }
}

/// Returns true if connection tracking would have an entry of its own for this key.
fn is_flow(key: &FlowKey) -> bool {
    key.has_ports() || !WITH_PORTS.contains(&key.protocol)
}

#[cfg(test)]
mod tests {
    use naru_abi::Addr;

    use super::*;

    const NOW: u64 = 1_000 * IDLE;

    fn key(host: u8, protocol: u8, port: u16) -> FlowKey {
        FlowKey::between(Addr::v4([10, 1, 0, host]), Addr::v4([10, 2, 0, 9]), protocol).with_ports(port, 4000)
    }

    fn seen(key: FlowKey, ago: u64) -> (FlowKey, FlowValue) {
        (key, FlowValue { last_seen: NOW - ago })
    }

    #[test]
    fn only_what_was_idle_is_asked_about_the_longest_idle_first_and_not_more_than_the_limit() {
        let entries = [
            seen(key(1, 6, 80), IDLE),
            seen(key(2, 6, 80), IDLE + 1),
            seen(key(3, 17, 53), 5 * IDLE),
            seen(key(4, 6, 80), 3 * IDLE),
        ];
        assert_eq!(review(&entries, NOW, 9).ask, [key(3, 17, 53), key(4, 6, 80), key(2, 6, 80)]);
        assert_eq!(review(&entries, NOW, 1).ask, [key(3, 17, 53)]);
    }

    #[test]
    fn an_entry_for_fragments_stays_as_long_as_a_flow_of_the_same_hosts_and_protocol() {
        let (tcp, udp) = (key(1, 6, 80), key(1, 17, 53));
        let entries = [
            seen(tcp.without_ports(), 9 * IDLE),
            seen(tcp, 9 * IDLE),
            seen(udp.without_ports(), 9 * IDLE),
            seen(key(2, 17, 53).without_ports(), 0),
        ];
        let review = review(&entries, NOW, 9);
        assert_eq!((review.ask, review.orphans), (vec![tcp], vec![udp.without_ports()]));
    }

    #[test]
    fn a_protocol_without_ports_has_flows_without_ports() {
        let gre = key(1, 47, 0).without_ports();
        assert_eq!(review(&[seen(gre, 2 * IDLE)], NOW, 9), Review { ask: vec![gre], orphans: vec![] });
    }

    #[test]
    fn a_flow_seen_after_the_clock_was_read_is_not_idle() {
        let ahead = (key(1, 6, 80), FlowValue { last_seen: NOW + 5 });
        assert_eq!(review(&[ahead], NOW, 9), Review::default());
    }
}
