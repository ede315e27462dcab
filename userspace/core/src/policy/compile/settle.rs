//! From touched objects to changed entries.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use naru_abi::{
    Addr, Prefix,
    policy::{CLOSED_SUBJECT, Direction, PeerValue},
};

use super::{
    ClassId, Compiler, Isolation, Member, ProfileId, SubjectId, TermId,
    addresses::Owner,
    lists::ListKey,
    nets::{Areas, bounds, prefix},
    registry::interested,
    subjects::Numbered,
    terms::Term,
};
use crate::policy::model::Pod;

impl Compiler {
    /// Brings all entries up to the noted changes.
    pub(super) fn settle(&mut self) {
        let subjects = self.settle_subjects();
        self.settle_terms();
        self.settle_profiles();
        let areas = std::mem::take(&mut self.dirty.areas);
        let mut classes = self.settle_nets(&areas);
        classes.extend(self.settle_addresses(&areas));
        self.registry.add(&subjects, &classes, (&self.subjects, &self.classes), &mut self.pending);
        self.settle_pods();
        self.settle_emptied();
    }

    /// Gives every touched profile its subject; returns the new subjects.
    fn settle_subjects(&mut self) -> Vec<SubjectId> {
        let mut new = Vec::new();
        for id in std::mem::take(&mut self.dirty.subjects) {
            let Some(profile) = self.profiles.profile(id) else { continue };
            if profile.locals.is_empty() {
                continue;
            }
            let (traits, before) = (profile.traits.clone(), profile.subject);
            let in_namespace = self.policies.get(&traits.namespace);
            let all = in_namespace.into_iter().flat_map(BTreeMap::values);
            let policies = all.filter(|it| it.policy.pods.matches(&traits.labels)).cloned().collect();
            let (subject, terms) = self.subjects.subject(&traits, policies, &mut self.terms);
            if let Some(terms) = terms {
                new.push(subject);
                self.dirty.terms.extend(terms);
            }
            self.move_profile(id, before, subject);
        }
        new
    }

    fn move_profile(&mut self, id: ProfileId, before: SubjectId, subject: SubjectId) {
        if before == subject {
            return;
        }
        self.subjects.take(subject);
        self.subjects.give_back(before);
        if let Some(profile) = self.profiles.profile_mut(id) {
            profile.subject = subject;
            self.dirty.pods.extend(profile.locals.iter().cloned());
        }
    }

    /// Finds the members of new terms. A profile that is to be looked at anyway is left to
    /// [`Compiler::settle_profiles`].
    fn settle_terms(&mut self) {
        let new = std::mem::take(&mut self.dirty.terms);
        let mut of_pods = Vec::new();
        for id in new {
            let Some(term) = self.terms.term(id) else { continue };
            self.touch_term(&term.clone());
            match self.terms.term(id).and_then(|term| term.block()) {
                Some(block) => self.nets.add(id, block),
                None => of_pods.push(id),
            }
        }
        if of_pods.is_empty() {
            return;
        }
        let mut touched = Vec::new();
        for (id, profile) in self.profiles.iter_mut().filter(|(id, _)| !self.dirty.profiles.contains(id)) {
            let before = profile.members.len();
            for term in &of_pods {
                self.terms.add_member(*term, &profile.traits, &self.cluster, &mut profile.members);
            }
            if profile.members.len() > before {
                profile.members.sort_unstable();
                touched.push(id);
            }
        }
        for id in touched {
            self.touch_addresses(id);
        }
    }

    /// Notes that prefixes, and addresses in them, may come to the term or leave it.
    fn touch_term(&mut self, term: &Term) {
        if let Some(block) = term.block() {
            self.dirty.areas.add(prefix(block.cidr));
        }
        if term.is_every_pod() {
            for block in self.nets.node_blocks().collect::<Vec<_>>() {
                self.dirty.areas.add(block);
            }
        }
    }

    /// Looks the terms of touched profiles up.
    fn settle_profiles(&mut self) {
        for id in std::mem::take(&mut self.dirty.profiles) {
            let Some(profile) = self.profiles.profile_mut(id) else { continue };
            let members = self.terms.members(&profile.traits, &self.cluster);
            if profile.members != members {
                profile.members = members;
                self.touch_addresses(id);
            }
        }
    }

    /// Notes that the addresses of all pods of a profile may have another class.
    fn touch_addresses(&mut self, id: ProfileId) {
        let Some(profile) = self.profiles.profile(id) else { return };
        let pods = profile.pods.iter().filter_map(|uid| self.cluster.pods.get(&**uid));
        self.dirty.addresses.extend(pods.flat_map(|pod| &pod.addresses).map(|address| Addr::from(*address)));
    }

    /// Brings the prefixes within the areas up to date; returns the new classes.
    fn settle_nets(&mut self, areas: &Areas) -> Vec<ClassId> {
        let mut new = Vec::new();
        if areas.is_empty() {
            return new;
        }
        for prefix in self.nets.within(areas) {
            if !self.nets.is_needed(prefix) {
                let before = self.nets.forget(prefix);
                self.classes.give_back(before.unwrap_or(0));
                self.pending.note_net(prefix, before, None);
                continue;
            }
            let around = self.nets.around(prefix);
            let mut members = self.blocks(&around.terms);
            if around.is_pods {
                members.extend(self.terms.every_pod().iter().map(|term| Member { term: *term, number: 0 }));
                members.sort_unstable();
            }
            let (class, is_new) = self.classes.class(members, 0);
            new.extend(is_new.then_some(class));
            self.classes.take(class);
            let before = self.nets.set_class(prefix, class);
            self.classes.give_back(before.unwrap_or(0));
            self.pending.note_net(prefix, before, Some(class));
        }
        new
    }

    /// Those of the blocks that an address lies in whoever has it.
    fn blocks(&self, terms: &[TermId]) -> Vec<Member> {
        let is_plain = |term: &&TermId| self.terms.term(**term).is_some_and(|term| term.port.is_none());
        terms.iter().filter(is_plain).map(|term| Member { term: *term, number: 0 }).collect()
    }

    /// Brings the entries of touched addresses up to date; returns the new classes.
    fn settle_addresses(&mut self, areas: &Areas) -> Vec<ClassId> {
        let mut touched = std::mem::take(&mut self.dirty.addresses);
        for area in areas.largest() {
            let (first, last) = bounds(area);
            touched.extend(self.addresses.between(first, last));
        }
        let mut new = Vec::new();
        for address in touched {
            let (now, class) = self.entry(address);
            new.extend(class);
            let before = self.addresses.entry(address);
            if before != now {
                self.classes.take(now.map_or(0, |entry| entry.class));
                self.classes.give_back(before.map_or(0, |entry| entry.class));
                self.pending.note_peer(address, before, now);
            }
            self.addresses.set_entry(address, now);
        }
        new
    }

    /// The entry that an address needs: none if the prefix around it says the same. Returns its class too if that is
    /// new.
    fn entry(&mut self, address: Addr) -> (Option<PeerValue>, Option<ClassId>) {
        let around = self.nets.around(Prefix::host(address));
        let members = match self.addresses.owner(address) {
            Owner::Nobody => return (None, None),
            Owner::Node => self.blocks(&around.terms),
            Owner::Pod(uid) => match self.members(&uid, &around.terms) {
                Some(members) => members,
                None => return (None, None),
            },
        };
        let (class, is_new) = self.classes.class(members, around.class);
        let entry = PeerValue { address, class, base: self.classes.base(class) };
        ((class != around.class).then_some(entry), is_new.then_some(class))
    }

    /// The terms of an address of a pod, which lies in these blocks; `None` for a pod that has no rights.
    fn members(&self, uid: &Arc<str>, blocks: &[TermId]) -> Option<Vec<Member>> {
        let profile = self.profiles.profile(*self.profile_of.get(uid)?)?;
        let mut members = profile.members.clone();
        for id in blocks {
            if let Some(term) = self.terms.term(*id) {
                term.members_of(*id, &profile.traits, true, &mut members);
            }
        }
        members.sort_unstable();
        Some(members)
    }

    /// Gives every touched pod its subject.
    fn settle_pods(&mut self) {
        for uid in std::mem::take(&mut self.dirty.pods) {
            let pod = self.cluster.pods.get(&*uid).filter(|pod| pod.node == self.node);
            let now = pod.map_or_else(Isolation::default, |pod| self.isolation_of(&uid, pod));
            let before = match now.subject {
                0 => self.isolations.remove(&uid),
                _ => self.isolations.insert(uid.clone(), now),
            };
            self.pending.note_pod(uid, before.unwrap_or_default(), now);
        }
    }

    fn isolation_of(&self, uid: &Arc<str>, pod: &Pod) -> Isolation {
        let [ingress, egress] = Direction::ALL.map(|direction| self.is_isolated(pod, direction));
        let profile = self.profile_of.get(uid).and_then(|id| self.profiles.profile(*id));
        match profile {
            Some(profile) => Isolation { subject: profile.subject, ingress, egress },
            None if ingress || egress => Isolation { subject: CLOSED_SUBJECT, ingress, egress },
            None => Isolation::default(),
        }
    }

    /// Forgets profiles without pods, and gives back subjects of those without pods of this node.
    fn settle_emptied(&mut self) {
        for id in std::mem::take(&mut self.dirty.emptied) {
            if let Some(profile) = self.profiles.forget_if_empty(id) {
                self.subjects.give_back(profile.subject);
                continue;
            }
            let without_locals = self.profiles.profile(id).filter(|profile| profile.locals.is_empty());
            if let Some(before) = without_locals.map(|profile| profile.subject) {
                self.move_profile(id, before, 0);
            }
        }
    }

    /// Forgets subjects from this number on that no pod has, their terms, and classes from this number on that no
    /// address has.
    pub(super) fn forget(&mut self, from_subject: SubjectId, from_class: ClassId) {
        let mut gone = HashSet::new();
        while let Some((id, subject)) = self.subjects.forget_unused(from_subject) {
            self.registry.remove_subject(id, &mut self.pending);
            let items = Direction::ALL.into_iter().filter_map(|direction| subject.items(direction)).flatten();
            for term in items.filter_map(|item| item.peer).collect::<Vec<_>>() {
                if let Some(last) = self.terms.give_back(term) {
                    self.touch_term(&last);
                    if let Some(block) = last.block() {
                        self.nets.remove(term, block);
                    }
                    gone.insert(term);
                }
            }
        }
        self.leave_terms(&gone);
        self.settle();
        self.forget_classes(from_class);
        self.forget_policies();
    }

    /// Takes all profiles out of terms that are gone.
    fn leave_terms(&mut self, gone: &HashSet<TermId>) {
        if gone.is_empty() {
            return;
        }
        let mut touched = Vec::new();
        for (id, profile) in self.profiles.iter_mut() {
            let before = profile.members.len();
            profile.members.retain(|member| !gone.contains(&member.term));
            if profile.members.len() < before {
                touched.push(id);
            }
        }
        for id in touched {
            self.touch_addresses(id);
        }
    }

    fn forget_classes(&mut self, from: ClassId) {
        while let Some(class) = self.classes.first_unused(from) {
            let subjects = interested(class, &self.subjects, &self.classes);
            for (subject, direction) in
                subjects.into_iter().flat_map(|id| Direction::ALL.map(|direction| (id, direction)))
            {
                self.registry.remove(ListKey { subject, class, direction }, &mut self.pending);
            }
            self.classes.forget(class);
        }
    }

    /// Forgets the numbers of policies that are not in force and that no subject has.
    fn forget_policies(&mut self) {
        let gone = |it: &Arc<Numbered>| Arc::strong_count(it) == 1;
        let firsts = self.numbered.iter().filter(|(_, it)| gone(it)).map(|(first, _)| *first);
        for first in firsts.collect::<BTreeSet<_>>() {
            if let Some(numbered) = self.numbered.remove(&first) {
                self.numbers.remove(&numbered.policy);
            }
        }
    }
}
