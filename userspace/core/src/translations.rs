//! Which entries of `TRANSLATIONS` and `ANSWERS` have outlived their flow.

use std::collections::BTreeMap;

use naru_abi::{AnswerValue, FlowKey, TranslationValue, flow_state};

const SECOND: u64 = 1_000_000_000;
/// Idle times after which a flow is forgotten, in nanoseconds. Of protocols without connections, as long as a NAT must
/// keep them at least and a half more (RFC 4787, 4.3);
const DATAGRAMS: u64 = 180 * SECOND;
/// of a connection that never was answered;
const UNANSWERED: u64 = 120 * SECOND;
/// of one that was closed or reset: for what is repeated of its end;
const OVER: u64 = 60 * SECOND;
/// of one that one side has closed;
const HALF_CLOSED: u64 = 600 * SECOND;
/// of any other, as connection tracking does by default;
const IDLE: u64 = 5 * 86_400 * SECOND;
/// and the same where half of the table is in use: longer than any keepalive's default.
const IDLE_WHEN_FULL: u64 = 3 * 3_600 * SECOND;
/// An answer's entry is there this long before its flow's at most.
const ALONE: u64 = 10 * SECOND;

const UDP: u32 = 17;

/// Entries to be forgotten.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Expired {
    /// Flows, each with the key of its answers.
    pub flows: Vec<(FlowKey, FlowKey)>,
    /// Answers that belong to no flow.
    pub answers: Vec<FlowKey>,
}

/// The key of the answers to a flow.
#[must_use]
pub const fn answers_of(key: &FlowKey, flow: &TranslationValue) -> FlowKey {
    FlowKey {
        source: flow.backend,
        destination: key.source,
        source_port: flow.backend_port,
        destination_port: flow.client_port,
        protocol: key.protocol,
    }
}

/// The key of the flow that such answers belong to.
#[must_use]
pub const fn flow_of(key: &FlowKey, answer: &AnswerValue) -> FlowKey {
    FlowKey {
        source: key.destination,
        destination: answer.service,
        source_port: answer.client_port,
        destination_port: answer.service_port,
        protocol: key.protocol,
    }
}

/// Looks through all entries of maps that have room for `capacity` flows. `now` is read from the clock of
/// [`TranslationValue::last_used`].
#[must_use]
pub fn expired(
    flows: &BTreeMap<FlowKey, TranslationValue>,
    answers: &BTreeMap<FlowKey, AnswerValue>,
    now: u64,
    capacity: usize,
) -> Expired {
    let idle = if flows.len() * 2 > capacity { IDLE_WHEN_FULL } else { IDLE };
    let is_over = |key: &FlowKey, flow: &TranslationValue| {
        let answer = answers.get(&answers_of(key, flow));
        let seen = answer.map_or(0, |answer| answer.last_used).max(flow.last_used);
        now.saturating_sub(seen) > limit(key, flow, answer, idle)
    };
    let over = flows.iter().filter(|(key, flow)| is_over(key, flow));
    let is_alone = |key: &FlowKey, answer: &AnswerValue| {
        let flow = flow_of(key, answer);
        flows.get(&flow).is_none_or(|found| answers_of(&flow, found) != *key)
            && now.saturating_sub(answer.last_used) > limit_alone(answer)
    };
    Expired {
        flows: over.map(|(key, flow)| (*key, answers_of(key, flow))).collect(),
        answers: answers.iter().filter(|(key, answer)| is_alone(key, answer)).map(|(key, _)| *key).collect(),
    }
}

/// As long as a connection straight to the pod may have the ports, no flow to a Service has them.
const fn limit_alone(answer: &AnswerValue) -> u64 {
    if answer.state & flow_state::DIRECT == 0 { ALONE } else { HALF_CLOSED }
}

fn limit(key: &FlowKey, flow: &TranslationValue, answer: Option<&AnswerValue>, idle: u64) -> u64 {
    if key.protocol == UDP || flow.state & flow_state::STACK != 0 {
        return DATAGRAMS;
    }
    let Some(answer) = answer else { return OVER };
    let either = flow.state | answer.state;
    if either & flow_state::RESET != 0 || flow.state & answer.state & flow_state::FINISHED != 0 {
        OVER
    } else if answer.state & flow_state::SEEN == 0 {
        UNANSWERED
    } else if either & flow_state::FINISHED != 0 {
        HALF_CLOSED
    } else {
        idle
    }
}

#[cfg(test)]
mod tests {
    use naru_abi::Addr;

    use super::*;

    const NOW: u64 = 10_000_000 * SECOND;

    /// A flow that was seen so many seconds ago, with the states of its ends; without answers where there is none.
    fn expires(protocol: u8, ago: u64, flow: u32, answer: Option<u32>) -> bool {
        let key = FlowKey::between(Addr::v4([10, 1, 0, 1]), Addr::v4([10, 96, 0, 1]), protocol)
            .with_ports(4000, 80);
        let last_used = NOW - ago * SECOND;
        let flow = TranslationValue {
            fingerprint: 0,
            last_used,
            backend: Addr::v4([10, 1, 0, 2]),
            service: 1,
            slot: 0,
            backend_port: 8080,
            client_port: 4000,
            state: flow,
        };
        let answers = answer.map(|state| AnswerValue {
            fingerprint: 0,
            last_used,
            service: key.destination,
            service_port: 80,
            client_port: 4000,
            state,
        });
        let answers: BTreeMap<_, _> =
            answers.into_iter().map(|value| (answers_of(&key, &flow), value)).collect();
        assert!(answers.iter().all(|(answer, value)| flow_of(answer, value) == key));
        let found = expired(&BTreeMap::from([(key, flow)]), &answers, NOW, 100);
        assert!(found.answers.is_empty());
        !found.flows.is_empty()
    }

    #[test]
    fn a_flow_is_forgotten_after_a_time_that_its_protocol_and_its_end_tell() {
        use flow_state::{FINISHED, RESET, SEEN, STACK};
        let tcp = |ago, flow, answer| expires(6, ago, flow, Some(answer));
        assert!(!expires(17, 179, 0, Some(SEEN)) && expires(17, 181, 0, Some(SEEN)));
        assert!(!expires(17, 179, STACK, None) && expires(17, 181, STACK, None));
        assert!(!tcp(400_000, 0, SEEN) && tcp(500_000, 0, SEEN));
        assert!(!tcp(119, 0, 0) && tcp(121, 0, 0), "never answered");
        assert!(!tcp(61, FINISHED, SEEN) && tcp(601, FINISHED, SEEN));
        assert!(tcp(61, FINISHED, SEEN | FINISHED) && tcp(61, RESET, SEEN) && tcp(61, 0, RESET));
        assert!(!tcp(59, FINISHED, SEEN | FINISHED));
    }

    #[test]
    fn answers_without_their_flow_are_forgotten() {
        let key = FlowKey::between(Addr::v4([10, 1, 0, 2]), Addr::v4([10, 1, 0, 1]), 17).with_ports(53, 4000);
        let value = AnswerValue {
            fingerprint: 0,
            last_used: NOW - 11 * SECOND,
            service: Addr::v4([10, 96, 0, 1]),
            service_port: 53,
            client_port: 4000,
            state: 0,
        };
        let found = expired(&BTreeMap::new(), &BTreeMap::from([(key, value)]), NOW, 100);
        assert_eq!(found.answers, [key]);
    }
}
