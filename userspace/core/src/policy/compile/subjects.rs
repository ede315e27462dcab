//! Subjects: the sets of policies that isolate pods of this node, with the numbers behind their named ports.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use naru_abi::policy::{Direction, RuleVerdict};

use super::{
    SubjectId, TermId,
    profiles::Traits,
    terms::{Scope, Term, Terms, Who},
};
use crate::policy::model::{NamedPort, Namespaces, NetworkPolicy, Peer, Port, Ports, Rule, numbers};
use crate::policy::oracle::RuleName;

/// The tier of NetworkPolicy, behind that of administrators and before that of defaults.
pub const NAMESPACED: u8 = 2;

/// A policy with the numbers of its rules on this node.
pub struct Numbered {
    /// The policy.
    pub policy: Arc<NetworkPolicy>,
    /// The number of its first rule; those of `ingress` come first.
    pub first: u32,
}

impl Numbered {
    /// Number of rules of a policy.
    pub fn count(policy: &NetworkPolicy) -> usize {
        Direction::ALL.map(|direction| policy.rules(direction).map_or(0, <[Rule]>::len)).into_iter().sum()
    }

    fn rule(&self, direction: Direction, index: usize) -> u32 {
        let before = match direction {
            Direction::Ingress => 0,
            Direction::Egress => self.policy.rules(Direction::Ingress).map_or(0, <[Rule]>::len),
        };
        self.first.saturating_add(u32::try_from(before + index).unwrap_or(u32::MAX))
    }

    /// The name of the rule with that number.
    pub fn name(&self, rule: u32) -> Option<RuleName> {
        let mut index = usize::try_from(rule.checked_sub(self.first)?).ok()?;
        for direction in Direction::ALL {
            let count = self.policy.rules(direction).map_or(0, <[Rule]>::len);
            if index < count {
                return Some(RuleName { policy: self.policy.name.clone(), direction, index });
            }
            index -= count;
        }
        None
    }
}

/// One peer and one range of ports of a rule.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Item {
    /// The tier.
    pub tier: u8,
    /// 65,535 less the number of ports, and 0 for all protocols: within a tier whose rules all say the same, the widest
    /// come first, and hide the others.
    narrowness: u32,
    /// IP protocol number; 0 for all.
    pub protocol: u8,
    /// First port.
    pub from: u16,
    /// Last port.
    pub to: u16,
    /// The peer; `None` for everybody.
    pub peer: Option<TermId>,
    /// True if the port is the number that the peer's part of the term has, not `from` to `to`.
    pub is_named: bool,
    /// The verdict.
    pub verdict: RuleVerdict,
    /// The number of the rule.
    pub rule: u32,
}

/// A subject.
pub struct Subject {
    /// The items by direction, in the order in which they are asked; `None` if the pods are not isolated in it.
    pub items: [Option<Vec<Item>>; 2],
    /// The policies.
    pub policies: Vec<Arc<Numbered>>,
    /// The terms of all items, by direction.
    terms: [BTreeSet<TermId>; 2],
    key: Key,
    /// Profiles with this subject.
    users: usize,
}

impl Subject {
    /// Returns true if the pods are isolated in that direction.
    pub fn isolates(&self, direction: Direction) -> bool {
        self.items(direction).is_some()
    }

    /// The items of a direction.
    pub fn items(&self, direction: Direction) -> Option<&[Item]> {
        self.items.get(direction as usize)?.as_deref()
    }

    /// The terms of all items of a direction.
    pub fn terms(&self, direction: Direction) -> &BTreeSet<TermId> {
        let [ingress, egress] = &self.terms;
        match direction {
            Direction::Ingress => ingress,
            Direction::Egress => egress,
        }
    }

    /// The terms of all items of both directions.
    fn all_terms(&self) -> impl Iterator<Item = TermId> {
        self.terms.iter().flatten().copied()
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    /// The first rule numbers of the policies: one policy with other rules has other numbers.
    policies: Vec<u32>,
    /// The named ports of the pod that a rule for packets to it names.
    ports: Vec<NamedPort>,
}

/// All subjects.
pub struct Subjects {
    all: HashMap<SubjectId, Subject>,
    ids: HashMap<Key, SubjectId>,
    by_term: HashMap<TermId, BTreeSet<SubjectId>>,
    unused: BTreeSet<SubjectId>,
    next: SubjectId,
}

impl Subjects {
    /// No subjects; the first one gets the number `next`.
    pub fn new(next: SubjectId) -> Self {
        let (all, ids) = (HashMap::new(), HashMap::new());
        Self { all, ids, by_term: HashMap::new(), unused: BTreeSet::new(), next: next.max(1) }
    }

    /// The subject of pods with these traits that these policies isolate, and the terms that it is the first to use if
    /// it is new. 0 if there is no policy.
    pub fn subject(
        &mut self,
        traits: &Traits,
        policies: Vec<Arc<Numbered>>,
        terms: &mut Terms,
    ) -> (SubjectId, Option<Vec<TermId>>) {
        if policies.is_empty() {
            return (0, None);
        }
        let key = key(traits, &policies);
        if let Some(id) = self.ids.get(&key) {
            return (*id, None);
        }
        let id = self.next;
        self.next += 1;
        let mut writer = Writer { traits, terms, new: Vec::new() };
        let items = Direction::ALL.map(|direction| writer.direction(&policies, direction));
        let new = writer.new;
        let named = |items: &Option<Vec<Item>>| items.iter().flatten().filter_map(|item| item.peer).collect();
        let terms = items.each_ref().map(named);
        let subject = Subject { items, policies, terms, key: key.clone(), users: 0 };
        for term in subject.all_terms() {
            self.by_term.entry(term).or_default().insert(id);
        }
        self.ids.insert(key, id);
        self.unused.insert(id);
        self.all.insert(id, subject);
        (id, Some(new))
    }

    /// A subject.
    pub fn get(&self, id: SubjectId) -> Option<&Subject> {
        self.all.get(&id)
    }

    /// The subjects whose rules name the term.
    pub fn with_term(&self, term: TermId) -> impl Iterator<Item = SubjectId> {
        self.by_term.get(&term).into_iter().flatten().copied()
    }

    /// Notes that one more profile has the subject.
    pub fn take(&mut self, id: SubjectId) {
        if let Some(subject) = self.all.get_mut(&id) {
            subject.users += 1;
            self.unused.remove(&id);
        }
    }

    /// Notes that one profile less has it.
    pub fn give_back(&mut self, id: SubjectId) {
        if let Some(subject) = self.all.get_mut(&id) {
            subject.users = subject.users.saturating_sub(1);
            if subject.users == 0 {
                self.unused.insert(id);
            }
        }
    }

    /// Forgets a subject that no profile has and whose number is at least `from`, and returns it.
    pub fn forget_unused(&mut self, from: SubjectId) -> Option<(SubjectId, Subject)> {
        let id = *self.unused.range(from..).next()?;
        self.unused.remove(&id);
        let subject = self.all.remove(&id)?;
        self.ids.remove(&subject.key);
        for term in subject.all_terms() {
            if let Some(ids) = self.by_term.get_mut(&term) {
                ids.remove(&id);
            }
        }
        Some((id, subject))
    }

    /// The number of the next subject.
    pub const fn next(&self) -> SubjectId {
        self.next
    }
}

fn key(traits: &Traits, policies: &[Arc<Numbered>]) -> Key {
    let rules = policies.iter().flat_map(|it| it.policy.rules(Direction::Ingress).unwrap_or_default());
    let ports = rules.flat_map(|rule| &rule.ports).collect::<Vec<_>>();
    let is_named = |own: &&NamedPort| {
        ports.iter().any(|port| {
            port.protocol == own.protocol && matches!(&port.ports, Ports::Named(name) if *name == own.name)
        })
    };
    Key {
        policies: policies.iter().map(|it| it.first).collect(),
        ports: traits.ports.iter().filter(is_named).cloned().collect(),
    }
}

/// Writes rules as items.
struct Writer<'a> {
    traits: &'a Traits,
    terms: &'a mut Terms,
    new: Vec<TermId>,
}

/// Ports of an item: protocol, first, last.
type Range = (u8, u16, u16);

impl Writer<'_> {
    fn direction(&mut self, policies: &[Arc<Numbered>], direction: Direction) -> Option<Vec<Item>> {
        let mut isolating = policies.iter().filter(|it| it.policy.rules(direction).is_some()).peekable();
        isolating.peek()?;
        let mut items = Vec::new();
        for numbered in isolating {
            for (index, rule) in numbered.policy.rules(direction).unwrap_or_default().iter().enumerate() {
                let number = numbered.rule(direction, index);
                self.rule(&numbered.policy, rule, direction, number, &mut items);
            }
        }
        items.sort_unstable();
        Some(items)
    }

    fn rule(
        &mut self,
        policy: &NetworkPolicy,
        rule: &Rule,
        direction: Direction,
        number: u32,
        items: &mut Vec<Item>,
    ) {
        let mut peers = rule.peers.iter().map(|peer| who(policy, peer)).collect::<Vec<_>>();
        if peers.is_empty() {
            peers.push(Who::Anybody);
        }
        for who in peers {
            if rule.ports.is_empty() {
                items.push(self.item(&who, None, (0, 0, u16::MAX), number));
            }
            for port in &rule.ports {
                match (&port.ports, direction) {
                    (Ports::Named(name), Direction::Egress) => {
                        let named = Some((name.clone(), port.protocol));
                        items.push(self.item(&who, named, (port.protocol.number(), 0, 0), number));
                    }
                    _ => {
                        let ranges = ranges(port, self.traits);
                        items.extend(ranges.into_iter().map(|range| self.item(&who, None, range, number)));
                    }
                }
            }
        }
    }

    fn item(
        &mut self,
        who: &Who,
        port: Option<(Box<str>, crate::policy::model::Protocol)>,
        (protocol, from, to): Range,
        rule: u32,
    ) -> Item {
        let is_named = port.is_some();
        let peer = (is_named || *who != Who::Anybody).then(|| self.term(Term { who: who.clone(), port }));
        let narrowness = if protocol == 0 { 0 } else { 1 + u32::from(u16::MAX) - u32::from(to - from) };
        let verdict = RuleVerdict::Accept;
        Item { tier: NAMESPACED, narrowness, protocol, from, to, peer, is_named, verdict, rule }
    }

    fn term(&mut self, term: Term) -> TermId {
        let (id, is_new) = self.terms.take(term);
        if is_new {
            self.new.push(id);
        }
        id
    }
}

fn who(policy: &NetworkPolicy, peer: &Peer) -> Who {
    match peer {
        Peer::Block(block) => Who::Block(block.clone()),
        Peer::Pods { namespaces: Namespaces::Own, pods } => {
            Who::Pods(Scope::Namespace(policy.name.namespace.clone()), pods.clone())
        }
        Peer::Pods { namespaces: Namespaces::Selected(selector), pods } => {
            Who::Pods(Scope::Selected(selector.clone()), pods.clone())
        }
    }
}

/// The ranges of ports that a port of a rule means at a pod with these traits.
fn ranges(port: &Port, traits: &Traits) -> Vec<Range> {
    let protocol = port.protocol.number();
    match &port.ports {
        Ports::All => vec![(protocol, 0, u16::MAX)],
        Ports::Range(from, to) if from <= to => vec![(protocol, *from, *to)],
        Ports::Range(..) => Vec::new(),
        Ports::Named(name) => {
            let all = numbers(&traits.ports, name, port.protocol);
            all.into_iter().map(|number| (protocol, number, number)).collect()
        }
    }
}
