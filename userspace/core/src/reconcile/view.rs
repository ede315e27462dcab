use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Facts, LiveLink};
use crate::ids::{Alias, AttachmentId, Generation};
use crate::ipam::{Domain, Row, State};

/// The store's knowledge of a live veth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// Its attachment holds addresses in this generation.
    Held,
    /// Its attachment gave its addresses back, or holds addresses in another generation.
    Ended,
    /// The store does not know it.
    Unknown,
}

/// The facts, arranged for look-ups.
pub(super) struct View<'a> {
    facts: &'a Facts,
    rows: BTreeMap<IpAddr, &'a Row>,
    held: BTreeSet<Alias>,
    cooling: BTreeSet<Alias>,
    owners: BTreeSet<Alias>,
    links: BTreeMap<&'a Alias, &'a LiveLink>,
    by_index: BTreeMap<u32, &'a LiveLink>,
    holders: BTreeMap<IpAddr, Vec<&'a LiveLink>>,
}

impl<'a> View<'a> {
    pub(super) fn new(facts: &'a Facts) -> Self {
        let naru = Domain::naru();
        let ours = || facts.rows.iter().filter(|row| row.domain == naru);
        let named = |state: State, with_generation: bool| {
            let rows = ours().filter(move |row| row.state == state);
            rows.filter_map(move |row| row_alias(row, with_generation)).collect::<BTreeSet<_>>()
        };
        let mut view = Self {
            facts,
            rows: ours().map(|row| (row.address, row)).collect(),
            held: named(State::Assigned, true),
            cooling: named(State::Cooling, true),
            owners: named(State::Assigned, false),
            links: facts.links.iter().map(|link| (&link.alias, link)).collect(),
            by_index: BTreeMap::new(),
            holders: BTreeMap::new(),
        };
        let alive: Vec<_> =
            facts.links.iter().filter(|link| view.standing(link) != Standing::Ended).collect();
        for link in alive {
            view.by_index.insert(link.ifindex, link);
            for address in &link.addresses {
                view.holders.entry(*address).or_default().push(link);
            }
        }
        view
    }

    pub(super) fn standing(&self, link: &LiveLink) -> Standing {
        if self.held.contains(&link.alias) {
            return Standing::Held;
        }
        let other_generation = self.owners.contains(&link.alias.with_generation(Generation(0)));
        if other_generation || self.cooling.contains(&link.alias) {
            Standing::Ended
        } else {
            Standing::Unknown
        }
    }

    /// The veth of a row's assignment.
    pub(super) fn link_of(&self, row: &Row) -> Option<&'a LiveLink> {
        let alias = row_alias(row, true)?;
        self.links.get(&alias).copied()
    }

    /// The veth at an index, unless the store says that its attachment ended.
    pub(super) fn link_at(&self, ifindex: u32) -> Option<&'a LiveLink> {
        self.by_index.get(&ifindex).copied()
    }

    /// Live veths that have an address, without those whose attachment ended.
    pub(super) fn holders(&self, address: IpAddr) -> &[&'a LiveLink] {
        self.holders.get(&address).map_or(&[], Vec::as_slice)
    }

    pub(super) fn row(&self, address: IpAddr) -> Option<&'a Row> {
        self.rows.get(&address).copied()
    }

    /// Returns true if something live has the row's address.
    pub(super) fn lives(&self, row: &Row) -> bool {
        if row.state == State::Quarantined {
            return !self.holders(row.address).is_empty();
        }
        let carried = row.domain == Domain::naru();
        let namespace = match row.netns {
            // The reader's own namespace is alive, so an empty list means that nobody could look.
            _ if self.facts.netns.is_empty() => !carried,
            Some(netns) => self.facts.netns.contains(&netns),
            None => !carried,
        };
        namespace || (carried && self.link_of(row).is_some())
    }

    /// Returns true if the store or, where it knows nothing, the kernel gives this address to the veth.
    pub(super) fn belongs(&self, address: IpAddr, link: &LiveLink) -> bool {
        match self.standing(link) {
            Standing::Held => self.row(address).is_some_and(|row| match row.state {
                // As long as the owner is not clear, the address is taken from no live holder.
                State::Quarantined => link.addresses.contains(&address),
                _ => row_alias(row, true).as_ref() == Some(&link.alias),
            }),
            Standing::Unknown => link.addresses.contains(&address),
            Standing::Ended => false,
        }
    }
}

fn row_alias(row: &Row, with_generation: bool) -> Option<Alias> {
    let generation = if with_generation { row.generation } else { Generation(0) };
    row.owner.as_ref().map(|owner: &AttachmentId| Alias::new(owner, generation))
}
