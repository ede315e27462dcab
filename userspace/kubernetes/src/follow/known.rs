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
    /// It contains something unlikely: nothing changed, and a second list must confirm it.
    Doubted,
}

/// The change in an event of a watch.
pub enum Change<T> {
    /// The object is there, and says this.
    Is(Meta, Result<T, String>),
    /// The object is gone.
    Gone(Meta),
}

/// The objects of a kind, as far as they are believed.
pub struct Known<T> {
    entries: BTreeMap<String, Entry<T>>,
    /// The state up to which everything is known: events of earlier states are replays.
    position: u64,
    remembered: Option<Remembered>,
    doubt: Option<Doubt>,
    /// The time until which nothing is removed.
    settles: Option<Instant>,
    is_listed: bool,
    pace: Pace,
    news: News<T>,
}

/// The names of entries that are not what they were, each with what it said before.
pub type News<T> = BTreeMap<String, Option<T>>;

/// A list that was not believed.
struct Doubt {
    revision: u64,
    missing: BTreeSet<String>,
    since: Instant,
}

impl<T: Kind> Known<T> {
    /// Starts with nothing but what is `remembered`.
    pub const fn new(remembered: Option<Remembered>, pace: Pace) -> Self {
        let entries = BTreeMap::new();
        let news = BTreeMap::new();
        Self { entries, position: 0, remembered, doubt: None, settles: None, is_listed: false, pace, news }
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
            // No server lags for so long, so this is another store.
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
            self.put(name.clone(), before.remove(&name), |known| entry(known, meta, said, None));
        }
        for (name, gone) in before {
            if keeps {
                self.put(name, Some(gone), |known| known.map(|entry| Entry { is_kept: true, ..entry }));
            } else {
                self.news.entry(name).or_insert(gone.value);
            }
        }
        self.position = list.revision;
        self.remembered = None;
        self.is_listed = true;
    }

    /// Takes a change from a watch. Returns false if it is a replay.
    pub fn changed(&mut self, revision: u64, change: Change<T>) -> bool {
        if revision <= self.position {
            return false;
        }
        self.position = revision;
        match change {
            Change::Is(meta, said) => {
                let name = meta.key();
                let known = self.entries.remove(&name);
                self.put(name, known, |known| entry(known, meta, said, Some(revision)));
            }
            Change::Gone(meta) => {
                let name = meta.key();
                if self.entries.get(&name).is_some_and(|entry| entry.uid == meta.uid)
                    && let Some(gone) = self.entries.remove(&name)
                {
                    self.news.entry(name).or_insert(gone.value);
                }
            }
        }
        true
    }

    /// Takes a bookmark: everything up to `revision` has been reported.
    pub fn reached(&mut self, revision: u64) {
        self.position = self.position.max(revision);
    }

    /// Returns the changes since the last call.
    pub fn take_news(&mut self) -> News<T> {
        std::mem::take(&mut self.news)
    }

    /// Puts the entry of that name, which `known` was before.
    fn put<E: Into<Option<Entry<T>>>>(
        &mut self,
        name: String,
        known: Option<Entry<T>>,
        next: impl FnOnce(Option<Entry<T>>) -> E,
    ) {
        let before = known.clone();
        let Some(entry) = next(known).into() else { return };
        if before.as_ref() != Some(&entry) {
            self.news.entry(name.clone()).or_insert(before.and_then(|entry| entry.value));
        }
        self.entries.insert(name, entry);
    }

    fn names(&self) -> BTreeSet<String> {
        match &self.remembered {
            Some(remembered) if !self.is_listed => remembered.names.clone(),
            _ => self.entries.keys().cloned().collect(),
        }
    }
}

/// Returns the entry for an object's contents; `known` is the previous entry of that name.
fn entry<T: Kind>(
    known: Option<Entry<T>>,
    meta: Meta,
    said: Result<T, String>,
    watched: Option<u64>,
) -> Entry<T> {
    // If the name belonged to another object before, that object's entry does not count.
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
