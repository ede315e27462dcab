use std::{collections::BTreeSet, fmt, net::IpAddr};

use crate::ids::{Alias, AttachmentId, Generation, NetnsId};
use crate::ipam::{Domain, Millis, Row};

/// A veth of naru on the node, as its alias describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiveLink {
    /// Its index on the node.
    pub ifindex: u32,
    /// Its name on the node.
    pub name: String,
    /// Its owner.
    pub alias: Alias,
    /// The pod's addresses, as the host routes over the veth say.
    pub addresses: Vec<IpAddr>,
    /// The namespace of its other end, if the caller could find it.
    pub netns: Option<NetnsId>,
}

/// An entry of the map `PODS`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct MapEntry {
    /// The pod's address.
    pub address: IpAddr,
    /// The interface it leads to.
    pub ifindex: u32,
    /// The assignment for which it was written.
    pub generation: Generation,
}

/// A host route of naru's own protocol to one pod address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct HostRoute {
    /// The pod's address.
    pub address: IpAddr,
    /// The interface it leads to.
    pub ifindex: u32,
}

/// The state of the node as it was seen. Read `rows` first and the kernel after them: an attachment made in between
/// then shows as live without a row, never as a row without life.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// The store's rows of all domains.
    pub rows: Vec<Row>,
    /// Every link with an alias of naru.
    pub links: Vec<LiveLink>,
    /// Every network namespace that is alive, as far as the caller can see them.
    pub netns: BTreeSet<NetnsId>,
    /// The map of pods.
    pub entries: Vec<MapEntry>,
    /// The routes to pods.
    pub routes: Vec<HostRoute>,
    /// Indexes of interfaces that are gone, but have settings or counters in the maps. Read the maps before the
    /// links.
    pub orphans: Vec<u32>,
}

/// A repair. Each compares before it acts: by generation in the store and the map, by index and alias for a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Write a live veth's addresses into the store.
    Adopt {
        /// Its attachment.
        owner: AttachmentId,
        /// Its addresses.
        addresses: Vec<IpAddr>,
        /// Its namespace, if known.
        netns: Option<NetnsId>,
        /// Its index.
        ifindex: u32,
        /// The generation its alias names.
        generation: Generation,
    },
    /// Give back an address that nothing holds any more, if it still has this generation.
    Free {
        /// The domain in which the address is unique.
        domain: Domain,
        /// The address.
        address: IpAddr,
        /// The assignment that was seen dead.
        generation: Generation,
    },
    /// Keep an address away from everybody: more than one live veth has it.
    Quarantine {
        /// The address.
        address: IpAddr,
        /// The aliases of its holders, in order.
        holders: Vec<Alias>,
    },
    /// Delete a veth that belongs to no assignment.
    DeleteLink {
        /// Its index.
        ifindex: u32,
        /// Its name.
        name: String,
        /// Its alias; another alias at this index is another veth.
        alias: Alias,
    },
    /// Delete a map entry that leads nowhere, if it still is this one.
    DeleteEntry(MapEntry),
    /// Delete a route that leads nowhere.
    DeleteRoute(HostRoute),
    /// Delete settings and counters of the interface of this index, if there still is no such interface.
    ForgetInterface(u32),
    /// Write the map entry of an address that is assigned and wired and has none.
    RestoreEntry {
        /// The address.
        address: IpAddr,
        /// The veth's index.
        ifindex: u32,
        /// The assignment.
        generation: Generation,
    },
    /// Write the host route of an address that is assigned and wired and has none.
    RestoreRoute {
        /// The address.
        address: IpAddr,
        /// The veth's index.
        ifindex: u32,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Adopt { owner, addresses, .. } => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                write!(f, "{owner}: write {} into the store", addresses.join(" and "))
            }
            Self::Free { address, .. } => write!(f, "{address}: free it, nothing holds it any more"),
            Self::Quarantine { address, .. } => write!(f, "{address}: give it to nobody, several have it"),
            Self::DeleteLink { name, .. } => write!(f, "{name}: delete the veth of no attachment"),
            Self::DeleteEntry(entry) => {
                write!(f, "{}: delete the map entry that leads nowhere", entry.address)
            }
            Self::DeleteRoute(route) => write!(f, "{}: delete the route that leads nowhere", route.address),
            Self::ForgetInterface(index) => write!(f, "interface {index}: forget it, it is gone"),
            Self::RestoreEntry { address, .. } => write!(f, "{address}: write its map entry again"),
            Self::RestoreRoute { address, .. } => write!(f, "{address}: write its route again"),
        }
    }
}

/// The certainty that is needed before anything is removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Shortest time between the two passes that must both see a thing dead, in milliseconds.
    pub gap: Millis,
    /// Lowest age at which an assignment that was never wired may be freed, in milliseconds: its ADD may still be
    /// under way.
    pub unconfirmed_age: Millis,
    /// Time for which a veth of generation 0 may exist without an address: it was made for an IPAM that asks for one
    /// over it, and may take ten minutes.
    pub prepared_age: Millis,
}

impl Default for Policy {
    fn default() -> Self {
        Self { gap: 10_000, unconfirmed_age: 60_000, prepared_age: 660_000 }
    }
}
