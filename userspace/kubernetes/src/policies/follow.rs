//! The three kinds, handed to the node's register object by object. Policies are always followed; namespaces and pods
//! only while there are policies, since there are up to hundreds of thousands of pods.

use std::{sync::Arc, time::Duration};

use naru_cluster::{
    Contact,
    policies::{self, Known as Content, Register},
};
use naru_core::policy::{
    lent::Lending,
    model::{Event, NetworkPolicy, Pod},
};
use tokio::{sync::watch, time::sleep};

use super::{
    NAMESPACES, Namespace, POLICIES, events,
    lent::{self, Lent, Own},
};
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

/// Hands what nodes lend to the register, and what the own node's object says to its writer.
struct Lender {
    register: Register,
    own: String,
    there: watch::Sender<Option<Lending>>,
}

impl Listener<Lent> for Lender {
    fn told(&mut self, known: &Known<Lent>, news: News<Lent>) {
        let is_first = self.there.borrow().is_none();
        if is_first || news.contains_key(&self.own) {
            let own = value(known, &self.own).unwrap_or_default().0;
            self.there.send_replace(Some(own));
        }
        if news.is_empty() {
            return;
        }
        self.register.change(|content| {
            for name in news.into_keys() {
                let lending = value(known, &name).map(|Lent(lending)| lending);
                content.lend(name, lending);
            }
        });
    }

    /// Without these objects everything works by what the API shows of pods.
    fn failed(&mut self, _: ApiError) {}
}

/// What the followers share.
struct Shared {
    own: Own,
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

    /// Follows what nodes lend, and lends what the others need.
    async fn lend(&self) {
        let (register, there) = (self.contact.policies(), watch::Sender::new(None));
        let lender = Lender { register: register.clone(), own: self.own.name.clone(), there: there.clone() };
        let known = Known::<Lent>::new(None, self.pace);
        let follower = Follower::new(self.api.clone(), lent::PATH, known, self.contact.clone(), lender);
        tokio::join!(follower.run(), lent::write(&self.api, &self.own, register.unsaid(), there));
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
                () = self.lend() => {}
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
pub async fn follow(api: Arc<Api>, own: Own, pace: Pace, contact: Contact, progress: Progress) {
    contact.policies().change(Content::set_expected);
    let pace = Pace { resync: pace.resync * RARER, ..pace };
    let shared = Shared { own, api, pace, contact, progress };
    let left_out = shared.contact.policies().left_out();
    tokio::join!(
        shared.follow::<Arc<NetworkPolicy>>(POLICIES, Topic::Policies),
        shared.follow_peers(),
        events::write(shared.api.clone(), &shared.own.name, left_out),
    );
}
