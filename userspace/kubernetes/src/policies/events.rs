//! Events about policies that are not in force as they say, for those who wrote them and see no node's log.
//!
//! An event's name is made of the policy, the reason and the hour: all nodes that refuse a policy write one event
//! together, whoever is first, and a policy that stays refused has one event an hour.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime},
};

use naru_cluster::policies::LeftOut;
use serde::Deserialize;
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::object;
use crate::{
    api::{Api, ApiError},
    condition::timestamp,
    follow::{Backoff, below},
};

/// Time within which the nodes that refuse a policy write, each at a moment of its own.
const SPREAD: Duration = Duration::from_secs(4);
/// Period of the events about one policy.
const HOUR: u64 = 3600;
/// Events that a node writes in an hour at most.
const MOST: usize = 30;
/// Longest part of a policy's name in the name of an event, and longest message; the API's limits are a little above.
const LONGEST_NAME: usize = 200;
const LONGEST_MESSAGE: usize = 1000;

#[derive(Deserialize)]
struct Policy {
    metadata: Identity,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    uid: String,
    resource_version: String,
}

/// Writes events for ever.
pub async fn write(api: Arc<Api>, node: &str, mut left_out: watch::Receiver<BTreeSet<LeftOut>>) {
    let mut written = BTreeSet::<(u64, LeftOut)>::new();
    let mut recent = VecDeque::<Instant>::new();
    let mut backoff = Backoff::default();
    loop {
        let hour = seconds() / HOUR;
        written.retain(|(at, _)| *at == hour);
        recent.retain(|at| at.elapsed().as_secs() < HOUR);
        let told = |one: &&LeftOut| {
            let is_it =
                |(_, other): &(u64, LeftOut)| (&other.policy, other.reason) == (&one.policy, one.reason);
            written.iter().any(is_it)
        };
        let next = left_out.borrow_and_update().iter().find(|one| !told(one)).cloned();
        let Some(one) = next.filter(|_| recent.len() < MOST) else {
            let until = Duration::from_secs(HOUR - seconds() % HOUR + 1);
            let is_any = !left_out.borrow().is_empty();
            tokio::select! {
                change = left_out.changed() => if change.is_err() { return },
                () = sleep(until), if is_any => {}
            }
            continue;
        };
        sleep(below(SPREAD)).await;
        // What lasted for a moment only is no news.
        if !left_out.borrow().contains(&one) {
            continue;
        }
        match tell(&api, node, &one, hour).await {
            Ok(()) => {
                written.insert((hour, one));
                recent.push_back(Instant::now());
                backoff.reset();
            }
            Err(error) => sleep(backoff.next(error.after())).await,
        }
    }
}

/// Writes one event, unless there is one already or the policy is gone.
async fn tell(api: &Api, node: &str, one: &LeftOut, hour: u64) -> Result<(), ApiError> {
    let (namespace, name) = (&one.policy.namespace, &one.policy.name);
    let path = format!("/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies/{name}");
    let policy = match api.ask("GET", &path, None).await {
        Ok(answer) => object::<Policy>(&answer).ok(),
        Err(error) if error.is_absent() => None,
        Err(error) => return Err(error),
    };
    let Some(Policy { metadata }) = policy else { return Ok(()) };
    let (now, reason) = (timestamp(SystemTime::now()), one.reason.label());
    let event = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": { "name": event_name(one, hour), "namespace": namespace },
        "involvedObject": {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "namespace": namespace,
            "name": name,
            "uid": metadata.uid,
            "resourceVersion": metadata.resource_version,
        },
        "type": "Warning",
        "reason": reason,
        "message": message(one, node),
        "source": { "component": "naru", "host": node },
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    });
    let path = format!("/api/v1/namespaces/{namespace}/events");
    match api.ask("POST", &path, Some(("application/json", event.to_string().into_bytes()))).await {
        Ok(_) => Ok(()),
        // Another node wrote it, or nobody may.
        Err(ApiError::Refused { code: 403 | 404 | 409, .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn event_name(one: &LeftOut, hour: u64) -> String {
    // Names of objects are ASCII.
    let name: String = one.policy.name.chars().take(LONGEST_NAME).collect();
    let reason = one.reason.label().to_ascii_lowercase();
    format!("{}.{reason}.{hour:x}", name.trim_end_matches(['.', '-']))
}

fn message(one: &LeftOut, node: &str) -> String {
    let text = format!("{}: what was in force before stays in force on node {node}", one.message);
    text.chars().take(LONGEST_MESSAGE).collect()
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use naru_cluster::policies::Reason;
    use naru_core::policy::model::PolicyName;

    use super::*;

    #[test]
    fn one_hour_has_one_name_for_a_policy_and_a_reason_which_the_api_takes() {
        let one = |name: &str, reason| LeftOut {
            policy: PolicyName { namespace: "shop".into(), name: name.into() },
            reason,
            message: "x".repeat(2000),
        };
        let name = event_name(&one("web", Reason::DoesNotFit), 7);
        assert_eq!(name, "web.policydoesnotfit.7");
        assert_ne!(name, event_name(&one("web", Reason::DoesNotFit), 8));
        assert_ne!(name, event_name(&one("web", Reason::Unreadable), 7));
        let long = format!("{}-{}", "a".repeat(LONGEST_NAME - 1), "b".repeat(53));
        let long = event_name(&one(&long, Reason::Unreadable), u64::MAX);
        assert!(long.len() <= 253 && long.contains("a.policyunreadable."), "{long}");
        assert!(message(&one("web", Reason::Unreadable), "node1").len() <= LONGEST_MESSAGE);
    }
}
