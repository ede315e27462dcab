//! Pods before their first packet: what is known of a pod's rights before anybody has compiled them, and the question
//! to the agent, which compiles them while the pod is made.
//!
//! The agent leaves a [`Standing`] on disk where the cluster has policies. A new pod is judged by it at first: closed
//! in each direction in which a policy of its namespace isolates any pod. Then the agent is asked, which gives the pod
//! its own rights, before its interface is up. Without an agent the pod stays as it is until there is one.

mod ask;
mod standing;

use std::path::PathBuf;

use naru_abi::PodValue;
use naru_core::{ids::PodName, policy::compile::Isolation};
use naru_netlink::links::{LinkError, Links};

use crate::{paths::Paths, policy};

pub use ask::{Answer, ask, read_question};
pub use standing::{Directions, Standing};

/// What is done about a new pod's rights before its first packet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Admission {
    /// The rights at first.
    pub isolation: Isolation,
    /// The agent's socket; `None` where there are no policies.
    pub agent: Option<PathBuf>,
}

impl Admission {
    /// What is done for this pod, by what is known on disk.
    #[must_use]
    pub fn of(paths: &Paths, pod: &PodName) -> Self {
        match Standing::load(paths) {
            // Without a name no policy can select it.
            _ if pod.is_empty() => Self::default(),
            None => Self::default(),
            Some(standing) => Self {
                isolation: standing.isolation(&pod.namespace),
                agent: standing.has_policies().then(|| paths.policy_socket()),
            },
        }
    }

    /// A pod's entry with the rights at first.
    pub(crate) fn first(&self, links: &Links, value: PodValue) -> Result<PodValue, LinkError> {
        let Isolation { subject, .. } = self.isolation;
        if subject == 0 {
            return Ok(value);
        }
        let netns = links.link_at(value.ifindex)?.as_ref().map_or(0, policy::netns);
        Ok(PodValue { subject, flags: value.flags | policy::judged(self.isolation), netns, ..value })
    }

    /// Has the agent, where one runs, give the pod its rights, before anything can pass. Until then it has those at
    /// first, and without an agent it keeps them until there is one.
    pub(crate) fn ask(&self, pod: &PodName) {
        if let Some(agent) = &self.agent {
            let _ = ask(agent, pod);
        }
    }
}
