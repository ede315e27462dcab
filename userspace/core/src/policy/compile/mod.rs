//! The compiler: objects of the cluster in, changes of this node's tables out.
//!
//! Rules speak about *terms* (peers). An address belongs to a set of terms, its *class*; a pod of this node has the set
//! of policies that isolate it, its *subject*. Both are numbered on this node, and no number is used twice, so that an
//! entry of `RULES` never changes: a change makes new entries beside the old ones, then moves the addresses and the
//! pods over. What nothing refers to any more is removed later, by [`Compiler::collect`].

mod addresses;
mod classes;
mod dirty;
mod limits;
mod lists;
mod nets;
mod plan;
mod profiles;
mod registry;
mod settle;
mod subjects;
mod terms;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use naru_abi::policy::{MAX_PAGES, PAGE_RULES};

pub use limits::{Excess, Limits, Refusal};
pub use plan::{Isolation, Plan};

use self::{
    addresses::Addresses,
    classes::Classes,
    dirty::Dirty,
    nets::Nets,
    plan::Pending,
    profiles::Profiles,
    registry::Registry,
    subjects::{Numbered, Subjects},
    terms::Terms,
};
use super::{
    model::{Cluster, Event, NetworkPolicy, Pod, PolicyName},
    oracle::RuleName,
};

/// Number of a term; never in a table.
type TermId = u32;
/// Number of a profile; never in a table.
type ProfileId = u32;
/// Number of a class.
pub type ClassId = u32;
/// Number of a subject.
pub type SubjectId = u32;

/// Membership in a term: for a term with a named port in the part of one number, otherwise in part 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Member {
    term: TermId,
    number: u16,
}

/// The first numbers that a compiler gives: behind all that are still in the node's tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FirstNumbers {
    /// Subjects.
    pub subject: SubjectId,
    /// Classes.
    pub class: ClassId,
    /// Rules.
    pub rule: u32,
}

impl Default for FirstNumbers {
    fn default() -> Self {
        Self { subject: 1, class: 1, rule: 1 }
    }
}

/// Sizes of the tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// Entries of `PEERS`.
    pub peers: usize,
    /// Entries of `PEER_NETS`.
    pub nets: usize,
    /// Entries of `RULES`.
    pub rules: usize,
}

/// The compiler of one node.
pub struct Compiler {
    node: String,
    limits: Limits,
    cluster: Cluster,
    policies: BTreeMap<String, BTreeMap<PolicyName, Arc<Numbered>>>,
    numbered: BTreeMap<u32, Arc<Numbered>>,
    numbers: HashMap<Arc<NetworkPolicy>, u32>,
    next_rule: u32,
    terms: Terms,
    profiles: Profiles,
    profile_of: HashMap<Arc<str>, ProfileId>,
    /// Pods whose rights do not fit: they have none.
    refused: HashSet<Arc<str>>,
    subjects: Subjects,
    classes: Classes,
    nets: Nets,
    addresses: Addresses,
    registry: Registry,
    isolations: HashMap<Arc<str>, Isolation>,
    pending: Pending,
    dirty: Dirty,
}

impl Compiler {
    /// A compiler for this node, which knows of nothing yet.
    #[must_use]
    pub fn new(node: &str, limits: Limits, first: FirstNumbers) -> Self {
        let mut dirty = Dirty::default();
        dirty.areas.add(nets::all_v4());
        Self {
            node: node.to_owned(),
            limits,
            cluster: Cluster::default(),
            policies: BTreeMap::new(),
            numbered: BTreeMap::new(),
            numbers: HashMap::new(),
            next_rule: first.rule.max(1),
            terms: Terms::default(),
            profiles: Profiles::default(),
            profile_of: HashMap::new(),
            refused: HashSet::new(),
            subjects: Subjects::new(first.subject),
            classes: Classes::new(first.class),
            nets: Nets::new(),
            addresses: Addresses::default(),
            registry: Registry::default(),
            isolations: HashMap::new(),
            pending: Pending::new(),
            dirty,
        }
    }

    /// The objects as they are in force.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Takes changes of objects in. Those that do not fit are refused one by one, each whole: the object stays in force
    /// as it was. A pod that does not fit has its addresses, which are nobody else's then, and no rights at all.
    pub fn apply(&mut self, events: Vec<Event>) -> Vec<Refusal> {
        if self.attempt(events.clone()).is_ok() {
            return Vec::new();
        }
        events.into_iter().filter_map(|event| self.apply_one(event)).collect()
    }

    fn apply_one(&mut self, event: Event) -> Option<Refusal> {
        let excess = self.attempt(vec![event.clone()]).err()?;
        let subject = match &event {
            Event::Policy(name, _) => format!("policy {name}"),
            Event::Namespace(name, _) => format!("namespace {name}"),
            Event::Node(name, _) => format!("node {name}"),
            Event::Pod(_, Some(pod)) => format!("pod {}", pod.full_name()),
            // Its address may fall back to a pod that needs an entry of its own. Nothing brings the pod back for that.
            Event::Pod(_, None) => {
                self.note(event);
                self.settle();
                return None;
            }
        };
        if let Event::Pod(uid, Some(_)) = event.clone() {
            self.note(event);
            self.deprive(&uid.into());
            self.settle();
        }
        Some(Refusal { subject, excess })
    }

    fn attempt(&mut self, events: Vec<Event>) -> Result<(), Excess> {
        let (subject, class) = (self.subjects.next(), self.classes.next());
        let (refused, before) = (self.refused.clone(), self.sizes());
        let undo = events.into_iter().map(|event| self.note(event)).collect::<Vec<_>>();
        self.settle();
        let Some(excess) = self.excess(before) else { return Ok(()) };
        for event in undo.into_iter().rev() {
            self.note(event);
        }
        for uid in refused.difference(&self.refused.clone()) {
            self.deprive(uid);
        }
        self.settle();
        self.forget(subject, class);
        self.registry.take_too_long();
        Err(excess)
    }

    /// Lets a pod have its addresses without rights.
    fn deprive(&mut self, uid: &Arc<str>) {
        let there = self.note(Event::Pod(uid.to_string(), None));
        self.refused.insert(uid.clone());
        self.note(there);
    }

    /// The first limit that a change exceeds which found tables of these sizes.
    fn excess(&mut self, before: Sizes) -> Option<Excess> {
        if let Some((id, wanted)) = self.registry.take_too_long() {
            let policies = self.subjects.get(id).map_or(&[][..], |subject| &subject.policies);
            let policies = policies.iter().map(|it| it.policy.name.clone()).collect();
            return Some(Excess::List { policies, wanted, limit: usize::from(MAX_PAGES) * PAGE_RULES });
        }
        let sizes = self.sizes();
        let tables = [
            ("entries for addresses", before.peers, sizes.peers, self.limits.peers),
            ("entries for blocks of addresses", before.nets, sizes.nets, self.limits.nets),
            ("entries for rules", before.rules, sizes.rules, self.limits.rules),
        ];
        let over = tables.into_iter().find(|(_, before, wanted, limit)| wanted > limit && wanted > before);
        over.map(|(what, _, wanted, limit)| Excess::Table { what, wanted, limit })
    }

    /// The writes that are needed since the plan before. Whoever takes it carries it out.
    pub fn take_plan(&mut self) -> Plan {
        self.pending.take()
    }

    /// Forgets subjects, terms and classes that nothing refers to, and tries refused pods again. The plan after it
    /// removes their entries; packets that were on their way at the plan before should be gone when it is carried out.
    pub fn collect(&mut self) {
        self.forget(0, 0);
        for uid in self.refused.clone() {
            if let Some(pod) = self.cluster.pods.get(&*uid).cloned() {
                let again = [None, Some(pod)].map(|pod| Event::Pod(uid.to_string(), pod));
                // One that still does not fit stays as it is.
                let _ = self.attempt(again.to_vec());
            }
        }
    }

    /// The pods whose rights do not fit: they have none. [`Compiler::collect`] tries them again.
    pub fn refused(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.refused.iter().filter_map(|uid| self.cluster.pods.get(&**uid))
    }

    /// The sizes of the tables.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        Sizes { peers: self.addresses.entries(), nets: self.nets.len(), rules: self.registry.pages() }
    }

    /// The subject of a pod of this node, and the directions in which it is judged.
    #[must_use]
    pub fn isolation(&self, uid: &str) -> Isolation {
        self.isolations.get(uid).copied().unwrap_or_default()
    }

    /// The numbers of all rules, and what they stand for.
    pub fn rules(&self) -> impl Iterator<Item = (u32, RuleName)> {
        self.numbered.values().flat_map(|numbered| {
            let count = u32::try_from(Numbered::count(&numbered.policy)).unwrap_or(0);
            let numbers = numbered.first..numbered.first.saturating_add(count);
            numbers.filter_map(|number| Some((number, numbered.name(number)?)))
        })
    }

    /// The rule with that number, until nothing refers to it and [`Compiler::collect`] is called.
    #[must_use]
    pub fn rule(&self, number: u32) -> Option<RuleName> {
        let (_, numbered) = self.numbered.range(..=number).next_back()?;
        numbered.name(number)
    }
}
