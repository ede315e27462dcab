use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use naru_core::policy::{
    lent::Lending,
    model::{Event, Node, PolicyName},
};
use tokio::sync::watch;

use super::{
    LeftOut, Reason,
    settings::{Mode, Settings},
};
use crate::shelf::{Content, Shelf};

/// The kinds of objects that policies are made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The policies.
    Policies = 0,
    /// Namespaces.
    Namespaces = 1,
    /// Pods.
    Pods = 2,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Policies, Self::Namespaces, Self::Pods];
}

/// Reliability of a register's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Standing {
    /// Nothing was read yet, or not all of it: what is in force stays.
    #[default]
    Unread,
    /// The source has no policies and never will.
    Nowhere,
    /// All that counts was read.
    Read,
}

/// A source's policies and what they speak about, as changes since the node looked last. Clones share one register: the
/// source writes, and the node's thread for policies reads, which alone keeps the objects.
#[derive(Clone, Debug, Default)]
pub struct Register(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    known: Shelf<Known>,
    needs_peers: watch::Sender<bool>,
    /// Addresses of this node's pods that the source does not say; `None` before the reader told.
    unsaid: watch::Sender<Option<Lending>>,
    left_out: watch::Sender<BTreeSet<LeftOut>>,
}

/// The content of a register.
#[derive(Debug, Default)]
pub struct Known {
    /// Changes by kind and name, each the last of its object.
    events: BTreeMap<(u8, String), Event>,
    /// What nodes lend, by their names, as far as it changed.
    lendings: BTreeMap<String, Option<Lending>>,
    /// True if all that the reader knows is void, except for policies: the events begin with nothing.
    is_begun: bool,
    is_woken: bool,
    /// `None` before the settings were read: nobody knows yet what is wanted.
    settings: Option<Settings>,
    /// Names of the policies that the source has.
    policies: BTreeSet<PolicyName>,
    nodes: BTreeMap<String, Node>,
    is_nowhere: bool,
    is_expected: bool,
    kinds: [Heard; 3],
    /// Objects that cannot be read, by kind and name, each with the reason.
    faults: BTreeMap<(u8, String), String>,
}

/// Contact with the source about one kind of object.
#[derive(Clone, Debug, Default)]
struct Heard {
    is_listed: bool,
    at: Option<SystemTime>,
    complaint: Option<String>,
}

/// The changes that a reader takes.
#[derive(Debug)]
pub struct News {
    /// True if everything known before is void, except for policies.
    pub is_begun: bool,
    /// Changes of objects.
    pub events: Vec<Event>,
    /// Addresses that other nodes lend, by their names; `None` for a node that lends none any more.
    pub lendings: Vec<(String, Option<Lending>)>,
}

impl Register {
    /// Changes what is known, and wakes the reader if that is news to it.
    pub fn change(&self, change: impl FnOnce(&mut Known)) {
        self.0.known.change(|known| {
            change(known);
            let needs_peers = known.needs_peers();
            self.0.needs_peers.send_if_modified(|told| std::mem::replace(told, needs_peers) != needs_peers);
        });
    }

    /// A channel that holds true while namespaces and pods must be known.
    #[must_use]
    pub fn needs_peers(&self) -> watch::Receiver<bool> {
        self.0.needs_peers.subscribe()
    }

    /// Tells the source which addresses of this node's pods it does not say.
    pub fn set_unsaid(&self, unsaid: Lending) {
        let unsaid = Some(unsaid);
        self.0.unsaid.send_if_modified(|told| {
            let is_news = *told != unsaid;
            *told = unsaid;
            is_news
        });
    }

    /// A channel with the addresses of this node's pods that the source does not say; `None` before they are known.
    #[must_use]
    pub fn unsaid(&self) -> watch::Receiver<Option<Lending>> {
        self.0.unsaid.subscribe()
    }

    /// Tells the source which of its policies are not in force as they say.
    pub fn set_left_out(&self, left_out: BTreeSet<LeftOut>) {
        self.0.left_out.send_if_modified(|told| {
            let is_news = *told != left_out;
            *told = left_out;
            is_news
        });
    }

    /// A channel with the policies that are not in force as they say.
    #[must_use]
    pub fn left_out(&self) -> watch::Receiver<BTreeSet<LeftOut>> {
        self.0.left_out.subscribe()
    }

    /// Wakes the reader: something that is no part of this register changed.
    pub fn wake(&self) {
        self.change(|known| known.is_woken = true);
    }

    /// Waits for news, for at most so long.
    pub fn wait(&self, limit: Duration) {
        self.0.known.wait(limit);
    }

    /// Reads what is known.
    pub fn read<T>(&self, read: impl FnOnce(&Known) -> T) -> T {
        read(&self.0.known.lock())
    }

    /// Takes the changes since the last call; `None` while not all that counts was read.
    #[must_use]
    pub fn take(&self) -> Option<News> {
        let mut known = self.0.known.lock();
        known.is_woken = false;
        if known.standing() == Standing::Unread {
            return None;
        }
        let is_begun = std::mem::take(&mut known.is_begun);
        Some(News {
            is_begun,
            events: std::mem::take(&mut known.events).into_values().collect(),
            lendings: std::mem::take(&mut known.lendings).into_iter().collect(),
        })
    }
}

/// The place of an event among those of its kind.
fn key(event: &Event) -> (u8, String) {
    match event {
        Event::Node(name, _) => (0, name.clone()),
        Event::Namespace(name, _) => (1, name.clone()),
        Event::Pod(uid, _) => (2, uid.clone()),
        Event::Policy(name, _) => (3, name.to_string()),
    }
}

impl Content for Known {
    fn is_news(&self) -> bool {
        let is_due = self.is_begun || !self.events.is_empty() || !self.lendings.is_empty();
        self.is_woken || is_due && self.standing() != Standing::Unread
    }
}

impl Known {
    /// What the settings say; the default before they were read.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.settings.unwrap_or_default()
    }

    /// True if the source is of a kind that has policies, read or not.
    #[must_use]
    pub const fn is_expected(&self) -> bool {
        self.is_expected
    }

    /// Notes that the source is of a kind that has policies: until they were read, nobody knows which pods are
    /// isolated.
    pub const fn set_expected(&mut self) {
        self.is_expected = true;
    }

    /// Number of policies that the source has.
    #[must_use]
    pub fn policies(&self) -> usize {
        self.policies.len()
    }

    /// Returns the reliability of the content. Pods and namespaces count only where there are policies.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let is_listed = |kind: &Kind| self.kinds[*kind as usize].is_listed;
        match () {
            () if self.is_nowhere => Standing::Nowhere,
            () if self.settings.is_none() || !is_listed(&Kind::Policies) => Standing::Unread,
            () if !self.needs_peers() || Kind::ALL.iter().all(is_listed) => Standing::Read,
            () => Standing::Unread,
        }
    }

    /// The time at which the source was heard last of every kind that counts.
    #[must_use]
    pub fn heard(&self) -> Option<SystemTime> {
        let counts = |kind: &&Kind| **kind == Kind::Policies || self.needs_peers();
        let times = Kind::ALL.iter().filter(counts).map(|kind| self.kinds[*kind as usize].at);
        times.collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    /// The reason for which what is known may not be what is.
    #[must_use]
    pub fn complaint(&self) -> Option<&str> {
        self.kinds.iter().find_map(|kind| kind.complaint.as_deref())
    }

    /// Objects that cannot be read, each with the reason.
    pub fn faults(&self) -> impl Iterator<Item = &str> {
        self.faults.values().map(String::as_str)
    }

    /// Policies that cannot be read.
    pub fn unreadable(&self) -> impl Iterator<Item = LeftOut> {
        let its = self.faults.iter().filter(|((kind, _), _)| *kind == Kind::Policies as u8);
        its.filter_map(|((_, name), fault)| {
            let (namespace, name) = name.split_once('/')?;
            let policy = PolicyName { namespace: namespace.to_owned(), name: name.to_owned() };
            Some(LeftOut { policy, reason: Reason::Unreadable, message: fault.clone() })
        })
    }

    /// Notes a change of an object.
    pub fn put(&mut self, event: Event) {
        if let Event::Policy(name, policy) = &event {
            let name = name.clone();
            match policy {
                Some(_) => drop(self.policies.insert(name)),
                None => drop(self.policies.remove(&name)),
            }
        }
        self.events.insert(key(&event), event);
    }

    /// Notes what a node lends; `None` if it lends nothing any more.
    pub fn lend(&mut self, node: String, lending: Option<Lending>) {
        self.lendings.insert(node, lending);
    }

    /// Notes that an object says something invalid, or does so no more; what it said before stays.
    pub fn set_fault(&mut self, kind: Kind, name: &str, fault: Option<String>) {
        let key = (kind as u8, name.to_owned());
        match fault {
            Some(fault) => drop(self.faults.insert(key, fault)),
            None => drop(self.faults.remove(&key)),
        }
    }

    /// Notes that all objects of a kind are known from here on.
    pub fn set_listed(&mut self, kind: Kind) {
        let is_new = !std::mem::replace(&mut self.kinds[kind as usize].is_listed, true);
        self.is_woken |= is_new;
        self.is_nowhere = false;
    }

    /// Notes that the source was heard of a kind, news or not.
    pub fn hear(&mut self, kind: Kind) {
        let heard = &mut self.kinds[kind as usize];
        *heard = Heard { at: Some(SystemTime::now()), complaint: None, is_listed: heard.is_listed };
    }

    /// Notes why a kind is not heard.
    pub fn complain(&mut self, kind: Kind, complaint: String) {
        self.kinds[kind as usize].complaint = Some(complaint);
    }

    /// Sets what the settings say.
    pub fn set_settings(&mut self, settings: Settings) {
        self.is_woken |= self.settings.replace(settings) != Some(settings);
    }

    /// Sets the nodes of the cluster.
    pub fn set_nodes(&mut self, nodes: BTreeMap<String, Node>) {
        let gone = self.nodes.keys().filter(|name| !nodes.contains_key(*name)).cloned().collect::<Vec<_>>();
        for name in gone {
            self.put(Event::Node(name, None));
        }
        for (name, node) in &nodes {
            if self.nodes.get(name) != Some(node) {
                self.put(Event::Node(name.clone(), Some(node.clone())));
            }
        }
        self.nodes = nodes;
    }

    /// True if namespaces and pods must be known.
    #[must_use]
    pub fn needs_peers(&self) -> bool {
        self.settings().mode != Mode::Off && !self.policies.is_empty()
    }

    /// Forgets namespaces and pods, which are not followed any more, unless they are needed again.
    pub fn forget_peers(&mut self) {
        if self.needs_peers() {
            return;
        }
        for kind in [Kind::Namespaces, Kind::Pods] {
            self.kinds[kind as usize] = Heard::default();
            self.faults.retain(|(of, _), _| *of != kind as u8);
        }
        self.begin();
    }

    /// Notes that there is no place that could have policies; what was known of one is forgotten.
    pub fn set_nowhere(&mut self) {
        if !self.is_nowhere {
            let (nodes, gone) = (std::mem::take(&mut self.nodes), std::mem::take(&mut self.policies));
            *self = Self { settings: self.settings, is_nowhere: true, nodes, ..Self::default() };
            gone.into_iter().for_each(|name| self.put(Event::Policy(name, None)));
            self.begin();
        }
    }

    /// Makes the reader begin again with nothing but the nodes, and the policies that it knows.
    fn begin(&mut self) {
        self.is_begun = true;
        self.lendings.clear();
        self.events.retain(|_, event| matches!(event, Event::Policy(..)));
        for (name, node) in self.nodes.clone() {
            self.put(Event::Node(name, Some(node)));
        }
    }
}
