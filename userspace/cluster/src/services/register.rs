use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use naru_core::services::{Model, Service, ServiceName, Slice};

use super::Mode;
use crate::shelf::{Content, Shelf};

/// A source's Services, and their changes since the node looked last. Clones share one register: the source writes, and
/// the node's thread for Services reads.
#[derive(Clone, Debug, Default)]
pub struct Register(Arc<Shelf<Known>>);

/// The kinds of objects that Services are made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The Services.
    Services = 0,
    /// Their EndpointSlices.
    Slices = 1,
}

/// Reliability of a register's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Standing {
    /// Nothing was read yet, or not all of it: what a node did before stays.
    #[default]
    Unread,
    /// The source has no Services and never will.
    Nowhere,
    /// All of it was read once.
    Read,
}

/// The content of a register.
#[derive(Debug, Default)]
pub struct Known {
    model: Model,
    changed: BTreeSet<ServiceName>,
    /// True if more than the Services in `changed` must be looked at.
    is_all_changed: bool,
    is_woken: bool,
    /// `None` before the settings were read: nobody knows yet what is wanted.
    mode: Option<Mode>,
    zones: BTreeMap<String, String>,
    is_nowhere: bool,
    kinds: [Heard; 2],
}

/// Contact with the source about one kind of object.
#[derive(Clone, Debug, Default)]
struct Heard {
    is_listed: bool,
    at: Option<SystemTime>,
    complaint: Option<String>,
}

impl Register {
    /// Changes what is known, and wakes the reader if that is news to it.
    pub fn change(&self, change: impl FnOnce(&mut Known)) {
        self.0.change(change);
    }

    /// Wakes the reader: something that is no part of this register changed.
    pub fn wake(&self) {
        self.change(|known| known.is_woken = true);
    }

    /// Waits for news, for at most so long.
    pub fn wait(&self, limit: Duration) {
        self.0.wait(limit);
    }

    /// Reads what is known.
    pub fn read<T>(&self, read: impl FnOnce(&Known) -> T) -> T {
        read(&self.0.lock())
    }

    /// Reads what is known, with the Services that changed since the last call, `None` for all; nothing is news after
    /// it.
    pub fn take<T>(&self, read: impl FnOnce(&Known, Option<&BTreeSet<ServiceName>>) -> T) -> T {
        let mut known = self.0.lock();
        let changed = std::mem::take(&mut known.changed);
        let is_all = std::mem::take(&mut known.is_all_changed);
        known.is_woken = false;
        read(&known, (!is_all).then_some(&changed))
    }
}

impl Content for Known {
    fn is_news(&self) -> bool {
        self.is_woken || self.is_all_changed || !self.changed.is_empty()
    }
}

impl Known {
    /// Returns true if the reader was woken for something else than what is known here.
    #[must_use]
    pub const fn is_woken(&self) -> bool {
        self.is_woken
    }

    /// The Services and slices.
    #[must_use]
    pub const fn model(&self) -> &Model {
        &self.model
    }

    /// Returns the translator of packets to Services; the default before the settings were read.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode.unwrap_or_default()
    }

    /// The zone of the node of that name; empty: none.
    #[must_use]
    pub fn zone(&self, node: &str) -> &str {
        self.zones.get(node).map_or("", String::as_str)
    }

    /// Returns the reliability of the content.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match () {
            () if self.is_nowhere => Standing::Nowhere,
            () if self.mode.is_some() && self.kinds.iter().all(|kind| kind.is_listed) => Standing::Read,
            () => Standing::Unread,
        }
    }

    /// The time at which the source was heard last of every kind.
    #[must_use]
    pub fn heard(&self) -> Option<SystemTime> {
        let [services, slices] = &self.kinds;
        Some(services.at?.min(slices.at?))
    }

    /// The reason for which what is known may not be what is.
    #[must_use]
    pub fn complaint(&self) -> Option<&str> {
        self.kinds.iter().find_map(|kind| kind.complaint.as_deref())
    }

    /// Sets what is known of a Service; `None`: there is none of that name.
    pub fn set_service(&mut self, name: ServiceName, service: Option<Arc<Service>>) {
        self.changed.insert(name.clone());
        self.model.set_service(name, service);
    }

    /// As [`Model::set_slice`].
    pub fn set_slice(
        &mut self,
        namespace: &str,
        name: &str,
        before: Option<&Slice>,
        now: Option<Arc<Slice>>,
    ) {
        let concerned = self.model.set_slice(namespace, name, before, now);
        self.changed.extend(concerned);
    }

    /// Notes that all objects of a kind are known from here on.
    pub fn set_listed(&mut self, kind: Kind) {
        self.is_nowhere = false;
        let listed = &mut self.kinds[kind as usize].is_listed;
        self.is_all_changed |= !std::mem::replace(listed, true);
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

    /// Sets who translates.
    pub fn set_mode(&mut self, mode: Mode) {
        self.is_all_changed |= self.mode.replace(mode) != Some(mode);
    }

    /// Sets the zones of nodes by their names, at least that of the own node.
    pub fn set_zones(&mut self, zones: BTreeMap<String, String>) {
        if self.zones != zones {
            self.zones = zones;
            self.is_all_changed = true;
        }
    }

    /// Notes that there is no place that could have Services; what was known of one is forgotten.
    pub fn set_nowhere(&mut self) {
        if !self.is_nowhere {
            *self = Self { mode: self.mode, is_nowhere: true, is_all_changed: true, ..Self::default() };
        }
    }
}
