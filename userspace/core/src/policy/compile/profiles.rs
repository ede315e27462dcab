//! Profiles: pods that no rule can tell apart but by their addresses.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{Member, ProfileId, SubjectId};
use crate::policy::model::{Labels, NamedPort, Pod};

/// Properties of a pod that rules match on, besides its addresses.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Traits {
    /// Its namespace.
    pub namespace: String,
    /// Its labels.
    pub labels: Labels,
    /// Its named ports.
    pub ports: Vec<NamedPort>,
}

impl Traits {
    /// The traits of a pod.
    pub fn of(pod: &Pod) -> Self {
        let mut ports = pod.ports.clone();
        ports.sort_unstable();
        ports.dedup();
        Self { namespace: pod.namespace.clone(), labels: pod.labels.clone(), ports }
    }
}

/// The pods of the same traits.
pub struct Profile {
    /// The traits.
    pub traits: Arc<Traits>,
    /// The terms that the pods belong to, wherever they are, in ascending order.
    pub members: Vec<Member>,
    /// The subject of those on this node; 0 for none.
    pub subject: SubjectId,
    /// The UIDs of the pods.
    pub pods: BTreeSet<Arc<str>>,
    /// The UIDs of those on this node.
    pub locals: BTreeSet<Arc<str>>,
}

/// All profiles.
#[derive(Default)]
pub struct Profiles {
    all: HashMap<ProfileId, Profile>,
    ids: HashMap<Arc<Traits>, ProfileId>,
    by_namespace: HashMap<String, BTreeSet<ProfileId>>,
    next: ProfileId,
}

impl Profiles {
    /// Adds a pod to the profile of its traits. Returns the profile, and true if it is new.
    pub fn add(&mut self, pod: &Pod, uid: Arc<str>, is_local: bool) -> (ProfileId, bool) {
        let traits = Traits::of(pod);
        let (id, is_new) = match self.ids.get(&traits) {
            Some(id) => (*id, false),
            None => (self.create(traits), true),
        };
        if let Some(profile) = self.all.get_mut(&id) {
            profile.pods.insert(uid.clone());
            if is_local {
                profile.locals.insert(uid);
            }
        }
        (id, is_new)
    }

    fn create(&mut self, traits: Traits) -> ProfileId {
        let (id, traits) = (self.next, Arc::new(traits));
        self.next += 1;
        self.by_namespace.entry(traits.namespace.clone()).or_default().insert(id);
        self.ids.insert(traits.clone(), id);
        let (pods, locals) = (BTreeSet::new(), BTreeSet::new());
        self.all.insert(id, Profile { traits, members: Vec::new(), subject: 0, pods, locals });
        id
    }

    /// Takes a pod out of its profile.
    pub fn remove(&mut self, id: ProfileId, uid: &str) {
        if let Some(profile) = self.all.get_mut(&id) {
            profile.pods.remove(uid);
            profile.locals.remove(uid);
        }
    }

    /// Forgets a profile without pods; returns it if it was one.
    pub fn forget_if_empty(&mut self, id: ProfileId) -> Option<Profile> {
        self.all.get(&id).filter(|profile| profile.pods.is_empty())?;
        let profile = self.all.remove(&id)?;
        self.ids.remove(&profile.traits);
        if let Some(ids) = self.by_namespace.get_mut(&profile.traits.namespace) {
            ids.remove(&id);
        }
        Some(profile)
    }

    /// A profile.
    pub fn profile(&self, id: ProfileId) -> Option<&Profile> {
        self.all.get(&id)
    }

    /// A profile, to change it.
    pub fn profile_mut(&mut self, id: ProfileId) -> Option<&mut Profile> {
        self.all.get_mut(&id)
    }

    /// All of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ProfileId, &mut Profile)> {
        self.all.iter_mut().map(|(id, profile)| (*id, profile))
    }

    /// The profiles of pods of a namespace.
    pub fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = ProfileId> {
        self.by_namespace.get(namespace).into_iter().flatten().copied()
    }
}
