//! The lists that `RULES` is to have.

use std::collections::HashMap;

use naru_abi::policy::Direction;

use super::{
    ClassId, SubjectId,
    classes::Classes,
    lists::{self, ListKey},
    plan::Pending,
    subjects::{Subject, Subjects},
};

/// The lists by subject, each with its number of pages.
#[derive(Default)]
pub struct Registry {
    lists: HashMap<SubjectId, HashMap<(ClassId, Direction), u16>>,
    pages: usize,
    /// The longest list that did not fit since this was asked for last: its subject, and its number of rules.
    too_long: Option<(SubjectId, usize)>,
}

impl Registry {
    /// Adds the lists of new subjects for all classes, and those of all subjects for new classes.
    pub fn add(
        &mut self,
        new_subjects: &[SubjectId],
        new_classes: &[ClassId],
        (subjects, classes): (&Subjects, &Classes),
        pending: &mut Pending,
    ) {
        for id in new_subjects {
            let Some(subject) = subjects.get(*id) else { continue };
            for direction in Direction::ALL.into_iter().filter(|direction| subject.isolates(*direction)) {
                let of_terms = subject.terms(direction).iter().flat_map(|term| classes.with_term(*term));
                for class in of_terms.chain([0]) {
                    self.consider(ListKey { subject: *id, class, direction }, subject, classes, pending);
                }
            }
        }
        for class in new_classes {
            for id in interested(*class, subjects, classes) {
                let Some(subject) = subjects.get(id) else { continue };
                for direction in Direction::ALL {
                    let key = ListKey { subject: id, class: *class, direction };
                    self.consider(key, subject, classes, pending);
                }
            }
        }
    }

    /// Adds the list if there is not yet one and it says something that the one of the base does not.
    fn consider(&mut self, key: ListKey, subject: &Subject, classes: &Classes, pending: &mut Pending) {
        let Some(items) = subject.items(key.direction) else { return };
        let of_subject = self.lists.entry(key.subject).or_default();
        if of_subject.contains_key(&(key.class, key.direction)) {
            return;
        }
        let terms = subject.terms(key.direction);
        let relevant = |class| classes.members(class).iter().filter(|member| terms.contains(&member.term));
        if key.class != 0 && relevant(key.class).eq(relevant(classes.base(key.class))) {
            return;
        }
        let rules = lists::rules(items, classes.members(key.class));
        if !lists::fits(rules.len()) && self.too_long.is_none_or(|(_, longest)| longest < rules.len()) {
            self.too_long = Some((key.subject, rules.len()));
        }
        let pages = lists::page_count(rules.len());
        of_subject.insert((key.class, key.direction), u16::try_from(pages).unwrap_or(u16::MAX));
        self.pages += pages;
        pending.put_list(key, rules);
    }

    /// Removes all lists of a subject.
    pub fn remove_subject(&mut self, subject: SubjectId, pending: &mut Pending) {
        for ((class, direction), pages) in self.lists.remove(&subject).unwrap_or_default() {
            self.pages -= usize::from(pages);
            pending.remove_list(ListKey { subject, class, direction }, pages);
        }
    }

    /// Removes a list, if there is one.
    pub fn remove(&mut self, key: ListKey, pending: &mut Pending) {
        let of_subject = self.lists.get_mut(&key.subject);
        if let Some(pages) = of_subject.and_then(|lists| lists.remove(&(key.class, key.direction))) {
            self.pages -= usize::from(pages);
            pending.remove_list(key, pages);
        }
    }

    /// Number of entries of `RULES`.
    pub const fn pages(&self) -> usize {
        self.pages
    }

    /// The longest list that does not fit and came since this was asked for last.
    pub const fn take_too_long(&mut self) -> Option<(SubjectId, usize)> {
        self.too_long.take()
    }
}

/// The subjects with rules about a class or its base.
pub fn interested(class: ClassId, subjects: &Subjects, classes: &Classes) -> Vec<SubjectId> {
    let members = classes.members(class).iter().chain(classes.members(classes.base(class)));
    let mut found = members.flat_map(|member| subjects.with_term(member.term)).collect::<Vec<_>>();
    found.sort_unstable();
    found.dedup();
    found
}
