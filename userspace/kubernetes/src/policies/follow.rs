//! The three kinds, handed to the node's register object by object. Policies are always followed; namespaces and pods
//! only while there are policies, since there are up to hundreds of thousands of pods.

use std::{sync::Arc, time::Duration};

use naru_cluster::{
    Contact,
    policies::{self, Known as Content, Register},
};
use naru_core::policy::model::{Event, NetworkPolicy, Pod};
use tokio::{sync::watch, time::sleep};

use super::{NAMESPACES, Namespace, POLICIES};
use crate::{
    api::{Api, ApiError},
    follow::{Follower, Kind, Known, Listener, News, Pace, Remembered},
    progress::{Progress, Topic},
};

/// Pods that run or will run on a node: a pod that ended has no rights, and is as one that is gone.
const PODS: &str =
    "/api/v1/pods?fieldSelector=spec.nodeName!%3D,status.phase!%3DSucceeded,status.phase!%3DFailed";
/// Time without policies after which namespaces and pods are not followed any more.
const LINGER: Duration = Duration::from_secs(60);
/// Lists beside these watches are so many times rarer than those of nodes.
const RARER: u32 = 6;

/// Hands a kind to the register.
struct Scribe {
    register: Register,
    progress: Progress,
}

impl Scribe {
    /// Notes a change, and that the source was heard of the kind.
    fn note(&self, kind: policies::Kind, change: impl FnOnce(&mut Content)) {
        self.register.change(|content| {
            change(content);
            content.set_listed(kind);
            content.hear(kind);
        });
    }

    fn complain(&self, kind: policies::Kind, error: &ApiError) {
        self.register.change(|content| content.complain(kind, error.to_string()));
    }
}

/// Notes the faults of the objects that changed.
fn note_faults<T: Kind>(
    content: &mut Content,
    kind: policies::Kind,
    word: &str,
    known: &Known<T>,
    news: &News<T>,
) {
    for name in news.keys() {
        let fault = known.entries().get(name).and_then(|entry| entry.fault.as_ref());
        content.set_fault(kind, name, fault.map(|fault| format!("{word} {name}: {fault}")));
    }
}

fn value<T: Kind>(known: &Known<T>, name: &str) -> Option<T> {
    known.entries().get(name).and_then(|entry| entry.value.clone())
}

impl Listener<Arc<NetworkPolicy>> for Scribe {
    fn told(&mut self, known: &Known<Arc<NetworkPolicy>>, news: News<Arc<NetworkPolicy>>) {
        let kind = policies::Kind::Policies;
        self.progress.note(Topic::Policies, known.position());
        self.note(kind, |content| {
            note_faults(content, kind, "NetworkPolicy", known, &news);
            for (name, before) in news {
                let now = value(known, &name);
                let Some(either) = now.as_ref().or(before.as_ref()) else { continue };
                content.put(Event::Policy(either.name.clone(), now.clone()));
            }
        });
    }

    fn failed(&mut self, error: ApiError) {
        self.complain(policies::Kind::Policies, &error);
    }
}

impl Listener<Namespace> for Scribe {
    fn told(&mut self, known: &Known<Namespace>, news: News<Namespace>) {
        let kind = policies::Kind::Namespaces;
        self.progress.note(Topic::Namespaces, known.position());
        self.note(kind, |content| {
            note_faults(content, kind, "Namespace", known, &news);
            for (name, _) in news {
                let labels = value(known, &name).map(|Namespace(_, labels)| labels);
                content.put(Event::Namespace(name, labels));
            }
        });
    }

    fn failed(&mut self, error: ApiError) {
        self.complain(policies::Kind::Namespaces, &error);
    }
}

impl Listener<Arc<Pod>> for Scribe {
    fn told(&mut self, known: &Known<Arc<Pod>>, news: News<Arc<Pod>>) {
        let kind = policies::Kind::Pods;
        self.progress.note(Topic::Pods, known.position());
        self.note(kind, |content| {
            note_faults(content, kind, "Pod", known, &news);
            for (name, before) in news {
                let now = value(known, &name);
                // Another pod of the same name has another identity.
                if let Some(gone) =
                    before.filter(|before| now.as_ref().is_none_or(|now| now.uid != before.uid))
                {
                    content.put(Event::Pod(gone.uid.clone(), None));
                }
                if let Some(pod) = now {
                    content.put(Event::Pod(pod.uid.clone(), Some(pod)));
                }
            }
        });
    }

    fn failed(&mut self, error: ApiError) {
        self.complain(policies::Kind::Pods, &error);
    }
}

/// What the followers share.
struct Shared {
    api: Arc<Api>,
    pace: Pace,
    contact: Contact,
    progress: Progress,
}

impl Shared {
    async fn follow<T: Kind>(&self, path: &'static str, topic: Topic)
    where
        Scribe: Listener<T>,
    {
        let scribe = Scribe { register: self.contact.policies().clone(), progress: self.progress.clone() };
        let known = Known::<T>::new(self.remembered(topic), self.pace);
        Follower::new(self.api.clone(), path, known, self.contact.clone(), scribe).run().await;
    }

    /// Only that a list is older than what was read is known of the time before; what it lacks is not.
    fn remembered(&self, topic: Topic) -> Option<Remembered> {
        let revision = self.progress.position(topic);
        (revision > 0).then(|| Remembered { revision, ..Remembered::default() })
    }

    /// Follows namespaces and pods while they are needed.
    async fn follow_peers(&self) {
        let mut needed = self.contact.policies().needs_peers();
        loop {
            if needed.wait_for(|is_needed| *is_needed).await.is_err() {
                return;
            }
            tokio::select! {
                () = self.follow::<Namespace>(NAMESPACES, Topic::Namespaces) => {}
                () = self.follow::<Arc<Pod>>(PODS, Topic::Pods) => {}
                () = unneeded(needed.clone()) => {}
            }
            self.contact.policies().change(Content::forget_peers);
        }
    }
}

/// Ends when there have been no policies for a while.
async fn unneeded(mut needed: watch::Receiver<bool>) {
    loop {
        if needed.wait_for(|is_needed| !*is_needed).await.is_err() {
            return;
        }
        tokio::select! {
            () = sleep(LINGER) => return,
            _ = needed.wait_for(|is_needed| *is_needed) => {}
        }
    }
}

/// Follows policies for ever.
pub async fn follow(api: Arc<Api>, pace: Pace, contact: Contact, progress: Progress) {
    contact.policies().change(Content::set_expected);
    let pace = Pace { resync: pace.resync * RARER, ..pace };
    let shared = Shared { api, pace, contact, progress };
    tokio::join!(shared.follow::<Arc<NetworkPolicy>>(POLICIES, Topic::Policies), shared.follow_peers());
}
