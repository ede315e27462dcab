//! Classes: the sets of terms that addresses belong to.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{ClassId, Member, TermId};

/// A class.
pub struct Class {
    /// The terms, in ascending order.
    pub members: Arc<[Member]>,
    /// The class of the prefix around the address; 0 for a prefix itself.
    pub base: ClassId,
    /// Entries of `PEERS` and `PEER_NETS` with this class, and classes with this base.
    users: usize,
}

/// All classes but class 0, which has no terms.
pub struct Classes {
    all: HashMap<ClassId, Class>,
    ids: HashMap<(Arc<[Member]>, ClassId), ClassId>,
    by_term: HashMap<TermId, BTreeSet<ClassId>>,
    unused: BTreeSet<ClassId>,
    next: ClassId,
}

impl Classes {
    /// No classes; the first one gets the number `next`.
    pub fn new(next: ClassId) -> Self {
        let next = next.max(1);
        Self {
            all: HashMap::new(),
            ids: HashMap::new(),
            by_term: HashMap::new(),
            unused: BTreeSet::new(),
            next,
        }
    }

    /// The class of an address with these terms in a prefix of class `base`, and true if it is new. Whoever puts it
    /// into an entry calls [`Classes::take`].
    pub fn class(&mut self, members: Vec<Member>, base: ClassId) -> (ClassId, bool) {
        if members.is_empty() {
            return (0, false);
        }
        if self.members(base) == members.as_slice() {
            return (base, false);
        }
        let key = (Arc::<[Member]>::from(members), base);
        if let Some(id) = self.ids.get(&key) {
            return (*id, false);
        }
        let id = self.next;
        self.next += 1;
        for member in key.0.iter().chain(self.members(base).to_vec().iter()) {
            self.by_term.entry(member.term).or_default().insert(id);
        }
        self.take(base);
        self.all.insert(id, Class { members: key.0.clone(), base, users: 0 });
        self.unused.insert(id);
        self.ids.insert(key, id);
        (id, true)
    }

    /// The terms of a class.
    pub fn members(&self, id: ClassId) -> &[Member] {
        self.all.get(&id).map_or(&[], |class| &class.members)
    }

    /// The base of a class.
    pub fn base(&self, id: ClassId) -> ClassId {
        self.all.get(&id).map_or(0, |class| class.base)
    }

    /// The classes that, or whose bases, belong to a term.
    pub fn with_term(&self, term: TermId) -> impl Iterator<Item = ClassId> {
        self.by_term.get(&term).into_iter().flatten().copied()
    }

    /// Notes that one more entry has the class.
    pub fn take(&mut self, id: ClassId) {
        if let Some(class) = self.all.get_mut(&id) {
            class.users += 1;
            self.unused.remove(&id);
        }
    }

    /// Notes that one entry less has the class.
    pub fn give_back(&mut self, id: ClassId) {
        if let Some(class) = self.all.get_mut(&id) {
            class.users = class.users.saturating_sub(1);
            if class.users == 0 {
                self.unused.insert(id);
            }
        }
    }

    /// The first class that nothing uses and whose number is at least `from`.
    pub fn first_unused(&self, from: ClassId) -> Option<ClassId> {
        self.unused.range(from..).next().copied()
    }

    /// Forgets a class.
    pub fn forget(&mut self, id: ClassId) {
        self.unused.remove(&id);
        let Some(class) = self.all.remove(&id) else { return };
        self.ids.remove(&(class.members.clone(), class.base));
        let base = self.members(class.base).to_vec();
        for member in class.members.iter().chain(&base) {
            if let Some(ids) = self.by_term.get_mut(&member.term) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.by_term.remove(&member.term);
                }
            }
        }
        self.give_back(class.base);
    }

    /// The number of the next class.
    pub const fn next(&self) -> ClassId {
        self.next
    }
}
