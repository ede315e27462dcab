//! The pods of this node: the source says their labels, and the node itself, which gave them their addresses, says
//! those long before the source does.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use naru_abi::policy::{CLOSED_SUBJECT, Direction};

use super::{
    compile::Isolation,
    lent::{Lending, has_family},
    model::{Event, NetworkPolicy, Pod, PolicyName},
};
use crate::ids::PodName;

/// An attachment of this node: its pod, and the addresses that it has here.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Attachment {
    /// The pod, as the container runtime names it.
    pub pod: PodName,
    /// Its addresses.
    pub addresses: BTreeSet<IpAddr>,
}

/// The pods of this node.
#[derive(Debug, Default)]
pub struct Locals {
    node: String,
    /// Pods of this node as the source says them, by their UIDs.
    said: BTreeMap<String, Arc<Pod>>,
    here: Vec<Attachment>,
    /// The same pods with the addresses that they have here.
    merged: BTreeMap<String, Arc<Pod>>,
}

impl Locals {
    /// No pods on the node of that name.
    #[must_use]
    pub fn new(node: &str) -> Self {
        Self { node: node.to_owned(), ..Self::default() }
    }

    /// Takes the source's changes, and returns them with the addresses that pods of this node have here.
    pub fn take(&mut self, events: Vec<Event>) -> Vec<Event> {
        let mut others = Vec::with_capacity(events.len());
        for event in events {
            match event {
                Event::Pod(uid, Some(pod)) if pod.node == self.node => {
                    self.said.insert(uid, pod);
                }
                Event::Pod(uid, None) if self.said.contains_key(&uid) => {
                    self.said.remove(&uid);
                }
                other => {
                    if let Event::Pod(uid, _) = &other {
                        // It is of another node now.
                        self.said.remove(uid);
                        self.merged.remove(uid);
                    }
                    others.push(other);
                }
            }
        }
        others.extend(self.merge());
        others
    }

    /// Takes the attachments that there are now, and returns the changes that come of it.
    pub fn set_here(&mut self, here: Vec<Attachment>) -> Vec<Event> {
        if self.here == here {
            return Vec::new();
        }
        self.here = here;
        self.merge()
    }

    /// The attachments.
    pub fn here(&self) -> impl Iterator<Item = &Attachment> {
        self.here.iter()
    }

    /// The UID under which the source knows the pod of an attachment. A runtime may name no UID, and files have none:
    /// then the name counts.
    #[must_use]
    pub fn uid(&self, pod: &PodName) -> Option<&str> {
        if let Some((uid, _)) = self.said.get_key_value(&pod.uid) {
            return Some(uid);
        }
        let is_it = |said: &&Arc<Pod>| {
            let is_same = said.namespace == pod.namespace && said.name == pod.name;
            is_same && (pod.uid.is_empty() || said.uid == said.full_name())
        };
        self.said.values().find(is_it).map(|said| said.uid.as_str())
    }

    /// The addresses that a pod has here.
    #[must_use]
    pub fn addresses(&self, uid: &str) -> Vec<IpAddr> {
        let its = self.here.iter().filter(|one| self.uid(&one.pod) == Some(uid));
        its.flat_map(|one| one.addresses.iter().copied()).collect()
    }

    /// The addresses of pods here that other nodes cannot know yet: the source knows the pod, and says no address of
    /// that family.
    #[must_use]
    pub fn unsaid(&self) -> Lending {
        let mut unsaid = Lending::new();
        for one in &self.here {
            let Some(said) = self.uid(&one.pod).and_then(|uid| self.said.get(uid)) else { continue };
            if !said.is_member() {
                continue;
            }
            let is_unsaid = |address: &&IpAddr| !has_family(&said.addresses, **address);
            for address in one.addresses.iter().filter(is_unsaid) {
                unsaid.entry(said.uid.clone()).or_default().insert(*address);
            }
        }
        unsaid
    }

    fn merge(&mut self) -> Vec<Event> {
        let mut given = BTreeMap::<&str, BTreeSet<IpAddr>>::new();
        let mut all = BTreeSet::<IpAddr>::new();
        for one in &self.here {
            all.extend(&one.addresses);
            if let Some(uid) = self.uid(&one.pod) {
                given.entry(uid).or_default().extend(&one.addresses);
            }
        }
        let merged = self.said.iter().map(|(uid, pod)| {
            let addresses: Vec<IpAddr> = match given.get(uid.as_str()) {
                Some(addresses) => addresses.iter().copied().collect(),
                None if pod.host_network => pod.addresses.clone(),
                // Whoever has the address here has it, whatever is still said of an earlier holder.
                None => pod.addresses.iter().filter(|address| !all.contains(address)).copied().collect(),
            };
            let is_same = addresses == pod.addresses;
            let pod = if is_same { pod.clone() } else { Arc::new(Pod { addresses, ..Pod::clone(pod) }) };
            (uid.clone(), pod)
        });
        let merged = merged.collect::<BTreeMap<_, _>>();
        let gone = self.merged.keys().filter(|uid| !merged.contains_key(*uid));
        let mut events = gone.map(|uid| Event::Pod(uid.clone(), None)).collect::<Vec<_>>();
        let changed = merged.iter().filter(|(uid, pod)| self.merged.get(*uid) != Some(*pod));
        events.extend(changed.map(|(uid, pod)| Event::Pod(uid.clone(), Some(pod.clone()))));
        self.merged = merged;
        events
    }
}

/// The isolation of a pod of which only the namespace is known: closed in every direction in which a policy of the
/// namespace isolates any pod.
#[must_use]
pub fn closed<'a>(
    policies: impl IntoIterator<Item = (&'a PolicyName, &'a Arc<NetworkPolicy>)>,
    namespace: &str,
) -> Isolation {
    let mut isolation = Isolation::default();
    for (_, policy) in policies.into_iter().filter(|(name, _)| name.namespace == namespace) {
        isolation.ingress |= policy.rules(Direction::Ingress).is_some();
        isolation.egress |= policy.rules(Direction::Egress).is_some();
    }
    if isolation.ingress || isolation.egress {
        isolation.subject = CLOSED_SUBJECT;
    }
    isolation
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, addresses: &[&str]) -> Event {
        let pod = Pod {
            uid: format!("uid-{name}"),
            namespace: "shop".into(),
            name: name.into(),
            labels: [("app", name)].into_iter().collect(),
            node: "node1".into(),
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            host_network: false,
            phase: super::super::model::Phase::Running,
            terminating: false,
            ports: Vec::new(),
            claim: 0,
        };
        Event::Pod(pod.uid.clone(), Some(Arc::new(pod)))
    }

    fn here(name: &str, uid: &str, addresses: &[&str]) -> Attachment {
        let pod = PodName { namespace: "shop".into(), name: name.into(), uid: uid.into() };
        Attachment { pod, addresses: addresses.iter().map(|text| text.parse().unwrap()).collect() }
    }

    fn told(events: &[Event]) -> Vec<(String, Option<Vec<String>>)> {
        let told = |event: &Event| match event {
            Event::Pod(uid, pod) => {
                let texts = |pod: &Arc<Pod>| pod.addresses.iter().map(ToString::to_string).collect();
                (uid.clone(), pod.as_ref().map(texts))
            }
            other => panic!("{other:?}"),
        };
        events.iter().map(told).collect()
    }

    fn is(uid: &str, addresses: &[&str]) -> (String, Option<Vec<String>>) {
        (uid.to_owned(), Some(addresses.iter().map(ToString::to_string).collect()))
    }

    #[test]
    fn a_pod_has_the_addresses_that_it_was_given_here_before_the_source_says_them() {
        let mut locals = Locals::new("node1");
        assert_eq!(told(&locals.take(vec![pod("a", &[])])), [is("uid-a", &[])]);
        let news = locals.set_here(vec![here("a", "uid-a", &["10.0.0.1", "fd00::1"])]);
        assert_eq!(told(&news), [is("uid-a", &["10.0.0.1", "fd00::1"])]);
        assert_eq!(told(&locals.take(vec![pod("a", &["10.0.0.1"])])), [], "the source lists one family only");
        assert_eq!(locals.addresses("uid-a").len(), 2);
    }

    #[test]
    fn an_address_that_is_used_again_is_its_new_holders_at_once() {
        let mut locals = Locals::new("node1");
        locals.take(vec![pod("old", &["10.0.0.1"]), pod("new", &[])]);
        let news = locals.set_here(vec![here("new", "uid-new", &["10.0.0.1"])]);
        assert_eq!(told(&news), [is("uid-new", &["10.0.0.1"]), is("uid-old", &[])]);
        assert_eq!(told(&locals.take(vec![Event::Pod("uid-old".into(), None)])), [("uid-old".into(), None)]);
    }

    #[test]
    fn a_pod_is_known_by_its_uid_and_by_its_name_only_where_there_is_no_uid() {
        let mut locals = Locals::new("node1");
        locals.take(vec![pod("a", &[])]);
        let uid = |locals: &Locals, uid: &str| locals.uid(&here("a", uid, &[]).pod).map(str::to_owned);
        assert_eq!(uid(&locals, "uid-a").as_deref(), Some("uid-a"));
        assert_eq!(uid(&locals, "").as_deref(), Some("uid-a"));
        assert_eq!(uid(&locals, "uid-of-its-predecessor"), None);
    }

    #[test]
    fn pods_of_other_nodes_are_handed_on_as_they_are() {
        let mut locals = Locals::new("node2");
        locals.set_here(vec![here("x", "uid-x", &["10.0.0.1"])]);
        assert_eq!(told(&locals.take(vec![pod("a", &["10.0.0.1"])])), [is("uid-a", &["10.0.0.1"])]);
    }

    #[test]
    fn others_are_lent_what_the_source_does_not_say_of_a_family_as_long_as_the_pod_is_there() {
        let mut locals = Locals::new("node1");
        locals.set_here(vec![here("a", "uid-a", &["10.0.0.1", "fd00::1"])]);
        assert_eq!(locals.unsaid(), Lending::new(), "the source does not know the pod yet");
        locals.take(vec![pod("a", &[])]);
        let both = ["10.0.0.1", "fd00::1"].map(|text| text.parse().unwrap()).into();
        assert_eq!(locals.unsaid(), [("uid-a".to_owned(), both)].into());
        locals.take(vec![pod("a", &["10.0.0.1"])]);
        let one = ["fd00::1"].map(|text| text.parse().unwrap()).into();
        assert_eq!(locals.unsaid(), [("uid-a".to_owned(), one)].into());
        locals.take(vec![pod("a", &["10.0.0.1", "fd00::1"])]);
        assert_eq!(locals.unsaid(), Lending::new());
        locals.take(vec![pod("a", &[])]);
        locals.set_here(Vec::new());
        assert_eq!(locals.unsaid(), Lending::new(), "its address is given up");
        locals.set_here(vec![here("a", "uid-a", &["10.0.0.1"])]);
        locals.take(vec![Event::Pod("uid-a".into(), None)]);
        assert_eq!(locals.unsaid(), Lending::new(), "it ended");
    }

    #[test]
    fn a_pod_that_moves_away_is_no_pod_of_this_node_any_more() {
        let mut locals = Locals::new("node1");
        locals.take(vec![pod("a", &["10.0.0.1"])]);
        let Event::Pod(uid, Some(moved)) = pod("a", &["10.0.1.1"]) else { panic!("a pod") };
        let moved = Pod { node: "node2".into(), ..Pod::clone(&moved) };
        let news = locals.take(vec![Event::Pod(uid, Some(Arc::new(moved)))]);
        assert_eq!(told(&news), [is("uid-a", &["10.0.1.1"])]);
        assert_eq!(locals.uid(&here("a", "uid-a", &[]).pod), None);
    }
}
