//! The states of the store that were read last, by kind: a server that lags is noticed by them after a restart, too.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use serde::{Deserialize, Serialize};

/// A kind of objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Topic {
    /// Services.
    Services = 0,
    /// EndpointSlices.
    Slices = 1,
    /// NetworkPolicies.
    Policies = 2,
    /// Namespaces.
    Namespaces = 3,
    /// Pods.
    Pods = 4,
}

/// The states as they are written down.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Positions {
    services: u64,
    slices: u64,
    policies: u64,
    namespaces: u64,
    pods: u64,
}

/// The same while they are followed.
#[derive(Clone, Default)]
pub struct Progress(Arc<[AtomicU64; 5]>);

impl Progress {
    /// Begins where an earlier process ended.
    pub fn new(Positions { services, slices, policies, namespaces, pods }: Positions) -> Self {
        Self(Arc::new([services, slices, policies, namespaces, pods].map(AtomicU64::new)))
    }

    /// The states that were read last.
    pub fn positions(&self) -> Positions {
        Positions {
            services: self.position(Topic::Services),
            slices: self.position(Topic::Slices),
            policies: self.position(Topic::Policies),
            namespaces: self.position(Topic::Namespaces),
            pods: self.position(Topic::Pods),
        }
    }

    /// The state of one kind that was read last.
    pub fn position(&self, topic: Topic) -> u64 {
        self.0[topic as usize].load(Ordering::Relaxed)
    }

    /// Notes a state.
    pub fn note(&self, topic: Topic, position: u64) {
        self.0[topic as usize].store(position, Ordering::Relaxed);
    }
}
