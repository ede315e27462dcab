//! Pods before their first packet: what is known of a pod's rights before anybody has compiled them, and the question
//! to the agent, which compiles them while the pod is made.
//!
//! The agent leaves a [`Standing`] on disk where the cluster has policies. A new pod is judged by it at first: closed
//! in each direction in which a policy of its namespace isolates any pod. Then the agent is asked, which gives the pod
//! its own rights, before its interface is up. Without an agent the pod stays as it is until there is one.

mod ask;
mod standing;

use std::path::PathBuf;

use naru_core::{ids::PodName, policy::compile::Isolation};

use crate::paths::Paths;

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
}
