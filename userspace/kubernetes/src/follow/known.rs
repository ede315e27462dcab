use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::{Kind, Meta, Pace};

/// State that outlives the process: enough to notice that a first list is older, or leaves most objects out.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Remembered {
    /// The state of the store that was read last.
    pub revision: u64,
    /// Names of the objects.
    pub names: BTreeSet<String>,
}

/// One object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry<T> {
    /// Its identity.
    pub uid: String,
    /// The time at which it was made.
    pub created: String,
    /// Its last valid contents; `None` before there were any.
    pub value: Option<T>,
    /// The error in what it says now.
    pub fault: Option<String>,
    /// True if the store does not have it any more, but went back in time.
    pub is_kept: bool,
}

/// A whole list.
pub struct Listing<T> {
    /// The state that it shows.
    pub revision: u64,
    /// Its objects, by name.
    pub objects: BTreeMap<String, (Meta, Result<T, String>)>,
    /// Objects without name or identity: something is missing, so nothing can be missed.
    pub nameless: usize,
}

/// The verdict on a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is what is known now.
    Taken,
    /// It says something unlikely: nothing changed, and another one must say it too.
    Doubted,
}

/// The change that an event of a watch tells.
pub enum Change<T> {
    /// The object is there, and says this.
    Is(Meta, Result<T, String>),
    /// The object is gone.
    Gone(Meta),
}

/// The objects of a kind as far as they are believed.
pub struct Known<T> {
    entries: BTreeMap<String, Entry<T>>,
    /// The state up to which everything is known: what an event tells of an earlier one is a replay.
    position: u64,
    remembered: Option<Remembered>,
    doubt: Option<Doubt>,
    /// The time until which nothing is removed.
    settles: Option<Instant>,
    is_listed: bool,
    pace: Pace,
}

/// A list that was not believed.
struct Doubt {
    revision: u64,
    missing: BTreeSet<String>,
    since: Instant,
}

impl<T: Kind> Known<T> {
    /// Nothing is known but what is `remembered`.
    pub const fn new(remembered: Option<Remembered>, pace: Pace) -> Self {
        let entries = BTreeMap::new();
        Self { entries, position: 0, remembered, doubt: None, settles: None, is_listed: false, pace }
    }

    /// The objects.
    pub const fn entries(&self) -> &BTreeMap<String, Entry<T>> {
        &self.entries
    }

    /// The state up to which everything is known.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The times by which it is judged.
    pub const fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Returns true after the first list was taken.
    pub const fn is_listed(&self) -> bool {
        self.is_listed
    }

    /// Judges a consistent list, and takes it.
    pub fn listed(&mut self, list: Listing<T>, now: Instant) -> Verdict {
        let before = self.names();
        let is_there = |name: &&String| list.objects.contains_key(*name);
        let missing: BTreeSet<String> = before.iter().filter(|name| !is_there(name)).cloned().collect();
        let newest = self.position.max(self.remembered.as_ref().map_or(0, |known| known.revision));
        let is_older = list.revision < newest;
        let doubt = self.doubt.take();
        if is_older {
            let since = doubt.map_or(now, |doubt| doubt.since);
            if now.duration_since(since) < self.pace.lags {
                self.doubt = Some(Doubt { revision: list.revision, missing, since });
                return Verdict::Doubted;
            }
            // No server lags for so long: the store is another one.
            self.settles = Some(now + self.pace.settles);
        } else if missing.len() * 2 > before.len() {
            let is_confirmed = |doubt: &Doubt| doubt.missing == missing && doubt.revision <= list.revision;
            if !doubt.as_ref().is_some_and(is_confirmed) {
                self.doubt = Some(Doubt { revision: list.revision, missing, since: now });
                return Verdict::Doubted;
            }
        }
        self.take(list, now);
        Verdict::Taken
    }

    fn take(&mut self, list: Listing<T>, now: Instant) {
        self.settles = self.settles.filter(|until| now < *until);
        let keeps = self.settles.is_some() || list.nameless > 0;
        let mut before = std::mem::take(&mut self.entries);
        for (name, (meta, said)) in list.objects {
            let known = before.remove(&name);
            self.entries.insert(name, entry(known, meta, said, None));
        }
        if keeps {
            let kept = before.into_iter().map(|(name, entry)| (name, Entry { is_kept: true, ..entry }));
            self.entries.extend(kept);
        }
        self.position = list.revision;
        self.remembered = None;
        self.is_listed = true;
    }

    /// Takes what a watch tells; false if it is a replay.
    pub fn changed(&mut self, revision: u64, change: Change<T>) -> bool {
        if revision <= self.position {
            return false;
        }
        self.position = revision;
        match change {
            Change::Is(meta, said) => {
                let name = meta.key();
                let known = self.entries.remove(&name);
                self.entries.insert(name, entry(known, meta, said, Some(revision)));
            }
            Change::Gone(meta) => {
                if self.entries.get(&meta.key()).is_some_and(|entry| entry.uid == meta.uid) {
                    self.entries.remove(&meta.key());
                }
            }
        }
        true
    }

    /// Takes a bookmark: everything up to `revision` was told.
    pub fn reached(&mut self, revision: u64) {
        self.position = self.position.max(revision);
    }

    fn names(&self) -> BTreeSet<String> {
        match &self.remembered {
            Some(remembered) if !self.is_listed => remembered.names.clone(),
            _ => self.entries.keys().cloned().collect(),
        }
    }
}

/// The entry for what an object says; `known` is the entry of that name before.
fn entry<T: Kind>(
    known: Option<Entry<T>>,
    meta: Meta,
    said: Result<T, String>,
    watched: Option<u64>,
) -> Entry<T> {
    // Under a name that was another object's nothing of that one counts.
    let before = known.filter(|entry| entry.uid == meta.uid).and_then(|entry| entry.value);
    let (value, fault) = match said {
        Ok(mut value) => {
            value.succeed(before.as_ref(), watched);
            (Some(value), None)
        }
        Err(fault) => (before, Some(fault)),
    };
    Entry { uid: meta.uid, created: meta.creation_timestamp, value, fault, is_kept: false }
}

#[cfg(test)]
mod tests;
