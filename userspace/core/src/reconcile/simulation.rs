//! A node in memory: attachments made and taken down step by step by processes that may die after any step,
//! namespaces that vanish, and passes of the reconciler that may die after any action.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::*;
use crate::ids::{Alias, AttachmentId, Generation, NetnsId, PodName, host_ifname};
use crate::ipam::memory::MemoryLedger;
use crate::ipam::{
    AddressRequest, Adoption, Assignment, Domain, PoolSpec, adopt, assign, confirm, free_if_generation,
    quarantine, release, set_ranges,
};

/// Steps of an ADD: unwire the predecessor (entries, veth), reserve, veth, entry, route, confirm.
const ADD_STEPS: usize = 7;
/// Steps of a DEL: entries, veth with its routes, release.
const DEL_STEPS: usize = 3;
const POLICY: Policy = Policy { gap: 1_000, unconfirmed_age: 1_000, prepared_age: 1_000 };

#[derive(Clone)]
struct Node {
    ledger: MemoryLedger,
    links: BTreeMap<u32, (LiveLink, u64)>,
    entries: BTreeMap<IpAddr, MapEntry>,
    interfaces: BTreeSet<u32>,
    netns: BTreeSet<u64>,
    next_index: u32,
    now: Millis,
    seen: Pass,
}

fn id(container: u32) -> AttachmentId {
    AttachmentId::new("naru", format!("c{container}"), "eth0").unwrap()
}

fn spec() -> PoolSpec {
    let ranges = ["10.0.0.0/29", "fd00::/125"].map(|net| net.parse().unwrap());
    PoolSpec::routed(Domain::naru(), "default", ranges.to_vec())
}

impl Node {
    fn new() -> Self {
        let mut ledger = MemoryLedger::default();
        set_ranges(&mut ledger, &spec(), 0).unwrap();
        let netns = BTreeSet::from([0]);
        let (links, entries, interfaces) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let seen = Pass::default();
        Self { ledger, links, entries, interfaces, netns, next_index: 1, now: 1_000_000, seen }
    }

    /// An ADD whose process dies after `steps` steps. Returns true if it answered.
    fn add(&mut self, container: u32, netns: u64, steps: usize) -> bool {
        let id = id(container);
        let mut assignment: Option<Assignment> = None;
        for step in 0..steps.min(ADD_STEPS) {
            match step {
                0 if !self.stands(&id, netns) => self.drop_entries(&id),
                1 if !self.stands(&id, netns) => self.drop_link(&id),
                2 => {
                    let request = AddressRequest {
                        netns: Some(NetnsId::Cookie(netns)),
                        ..AddressRequest::new(Domain::naru(), "default", id.clone())
                    };
                    let now = self.now;
                    let Ok(got) = self.ledger.transact(|ledger| assign(ledger, &request, now)) else {
                        return false;
                    };
                    assignment = Some(got);
                }
                _ => {
                    if let Some(assignment) = &assignment {
                        self.wire(&id, netns, assignment, step);
                    }
                }
            }
            self.check();
        }
        steps >= ADD_STEPS
    }

    fn stands(&self, id: &AttachmentId, netns: u64) -> bool {
        let held = self
            .ledger
            .rows
            .values()
            .find(|row| row.state == State::Assigned && row.owner.as_ref() == Some(id));
        held.is_none_or(|row| row.netns == Some(NetnsId::Cookie(netns)))
            && self.link_of(id).is_none_or(|index| self.links.get(&index).is_some_and(|(_, at)| *at == netns))
    }

    fn wire(&mut self, id: &AttachmentId, netns: u64, assignment: &Assignment, step: usize) {
        let generation = assignment.generation;
        match step {
            3 => {
                self.drop_link(id);
                let (ifindex, alias) = (self.next_index, Alias::new(id, generation));
                self.next_index += 1;
                let name = host_ifname(id);
                let link =
                    LiveLink { ifindex, name, alias, addresses: vec![], netns: Some(NetnsId::Cookie(netns)) };
                self.links.insert(ifindex, (link, netns));
            }
            4 => {
                let Some(ifindex) = self.link_of(id) else { return };
                self.interfaces.insert(ifindex);
                for &address in &assignment.addresses {
                    self.entries.insert(address, MapEntry { address, ifindex, generation });
                }
            }
            5 => {
                let Some((link, _)) = self.link_of(id).and_then(|index| self.links.get_mut(&index)) else {
                    return;
                };
                link.addresses.clone_from(&assignment.addresses);
            }
            _ => {
                let ifindex = self.link_of(id).unwrap_or(0);
                confirm(&mut self.ledger, &Domain::naru(), id, (generation, ifindex)).unwrap();
            }
        }
    }

    /// A DEL whose process dies after `steps` steps.
    fn del(&mut self, container: u32, steps: usize) {
        let id = id(container);
        for step in 0..steps.min(DEL_STEPS) {
            match step {
                0 => self.drop_entries(&id),
                1 => self.drop_link(&id),
                _ => drop(release(&mut self.ledger, &Domain::naru(), &id, self.now)),
            }
            self.check();
        }
    }

    fn link_of(&self, id: &AttachmentId) -> Option<u32> {
        let (ifindex, _) = self.links.iter().find(|(_, (link, _))| link.name == host_ifname(id))?;
        Some(*ifindex)
    }

    fn drop_entries(&mut self, id: &AttachmentId) {
        let index = self.link_of(id);
        self.entries.retain(|_, entry| Some(entry.ifindex) != index);
        self.interfaces.retain(|ifindex| Some(*ifindex) != index);
    }

    fn drop_link(&mut self, id: &AttachmentId) {
        let index = self.link_of(id);
        self.links.retain(|ifindex, _| Some(*ifindex) != index);
    }

    /// The namespace goes, and with it the veths that end in it and their routes.
    fn kill(&mut self, netns: u64) {
        self.netns.remove(&netns);
        self.links.retain(|_, (_, at)| *at != netns);
    }

    fn facts(&self) -> Facts {
        let links: Vec<_> = self.links.values().map(|(link, _)| link.clone()).collect();
        let routes = links.iter().flat_map(|link| {
            link.addresses.iter().map(|address| HostRoute { address: *address, ifindex: link.ifindex })
        });
        Facts {
            rows: self.ledger.rows.values().cloned().collect(),
            routes: routes.collect(),
            netns: self.netns.iter().copied().map(NetnsId::Cookie).collect(),
            entries: self.entries.values().copied().collect(),
            orphans: self
                .interfaces
                .iter()
                .copied()
                .filter(|index| !self.links.contains_key(index))
                .collect(),
            links,
        }
    }

    /// A pass that dies after some actions; the next one then remembers nothing of it.
    fn pass(&mut self, actions: usize) -> bool {
        self.now += POLICY.gap;
        let (due, seen) = reconcile(&self.facts(), POLICY, &self.seen, self.now);
        let whole = due.len() <= actions;
        for action in due.into_iter().take(actions) {
            self.act(action);
            self.check();
        }
        self.seen = if whole { seen } else { Pass::default() };
        whole
    }

    fn act(&mut self, action: Action) {
        let (naru, now) = (Domain::naru(), self.now);
        match action {
            Action::Adopt { owner, addresses, netns, ifindex, generation } => {
                let pod = PodName::default();
                let adoption = Adoption { domain: naru, owner, pod, addresses, netns, ifindex, generation };
                let _ = self.ledger.transact(|ledger| adopt(ledger, &adoption, now));
            }
            Action::Free { domain, address, generation } => {
                free_if_generation(&mut self.ledger, (&domain, address), generation, now).unwrap();
            }
            Action::Quarantine { address, .. } => {
                quarantine(&mut self.ledger, (&naru, address), "two holders", now).unwrap();
            }
            Action::DeleteLink { ifindex, alias, .. } => {
                self.links.retain(|index, (link, _)| (*index, &link.alias) != (ifindex, &alias));
                self.interfaces.remove(&ifindex);
            }
            Action::DeleteEntry(entry) => self.entries.retain(|_, have| *have != entry),
            Action::DeleteRoute(route) => {
                if let Some((link, _)) = self.links.get_mut(&route.ifindex) {
                    link.addresses.retain(|address| *address != route.address);
                }
            }
            Action::ForgetInterface(ifindex) => {
                assert!(!self.links.contains_key(&ifindex), "interface {ifindex} is there");
                self.interfaces.remove(&ifindex);
            }
            Action::RestoreEntry { address, ifindex, generation } => {
                self.entries.insert(address, MapEntry { address, ifindex, generation });
            }
            Action::RestoreRoute { address, ifindex } => {
                if let Some((link, _)) = self.links.get_mut(&ifindex) {
                    link.addresses.push(address);
                }
            }
        }
    }

    /// At every moment: no two veths have the same address, and what is wired is assigned or about to be adopted.
    fn check(&self) {
        let mut holders = BTreeMap::new();
        for (link, _) in self.links.values() {
            for address in &link.addresses {
                assert_eq!(holders.insert(*address, link.alias.clone()), None, "{address} is held twice");
            }
        }
    }

    /// Checks that everything has come to rest: rows, veths, entries and namespaces belong to the same attachments.
    fn assert_settled(&self, context: &str) {
        let live: BTreeMap<Alias, &LiveLink> =
            self.links.values().map(|(link, _)| (link.alias.clone(), link)).collect();
        for row in self.ledger.rows.values().filter(|row| row.state == State::Assigned) {
            let owner = row.owner.as_ref().unwrap();
            let wired = live.contains_key(&Alias::new(owner, row.generation));
            let waiting = matches!(row.netns, Some(NetnsId::Cookie(netns)) if self.netns.contains(&netns));
            assert!(wired || waiting, "{context}: {} leaked to {owner}", row.address);
        }
        for entry in self.entries.values() {
            let (link, _) =
                self.links.get(&entry.ifindex).unwrap_or_else(|| panic!("{context}: {entry:?} leaked"));
            assert_eq!(link.alias.generation(), entry.generation, "{context}: {entry:?} is stale");
        }
        for ifindex in &self.interfaces {
            assert!(self.links.contains_key(ifindex), "{context}: interface {ifindex} leaked");
        }
        for (link, _) in self.links.values() {
            let held = self.ledger.rows.values().any(|row| {
                row.state == State::Assigned
                    && row.owner.as_ref().is_some_and(|owner| Alias::new(owner, row.generation) == link.alias)
            });
            assert!(held, "{context}: veth {} leaked", link.alias);
        }
        assert!(
            !self.ledger.rows.values().any(|row| row.state == State::Quarantined),
            "{context}: quarantined"
        );
    }

    /// Runs two passes: the first one sees, the second one acts.
    fn settle(&mut self) {
        self.now += POLICY.unconfirmed_age;
        assert!(self.pass(usize::MAX) && self.pass(usize::MAX));
    }
}

#[test]
fn an_add_that_dies_after_any_step_leaves_nothing_once_its_namespace_is_gone() {
    for steps in 0..=ADD_STEPS {
        let mut node = Node::new();
        assert!(node.add(1, 1, ADD_STEPS));
        node.netns.insert(2);
        node.add(2, 2, steps);
        node.kill(2);
        node.settle();
        node.assert_settled(&format!("add died after {steps}"));
        let held = node.facts().rows.into_iter().filter(|row| row.state == State::Assigned);
        assert!(held.into_iter().all(|row| row.owner == Some(id(1))), "after {steps} steps");
        assert_eq!((node.links.len(), node.entries.len()), (1, 2), "after {steps} steps");
    }
}

#[test]
fn an_add_that_dies_after_any_step_is_finished_by_the_next_one() {
    for steps in 0..=ADD_STEPS {
        let mut node = Node::new();
        node.netns.insert(1);
        node.add(1, 1, steps);
        assert!(node.add(1, 1, ADD_STEPS));
        node.settle();
        node.assert_settled(&format!("add died after {steps}"));
        assert_eq!((node.links.len(), node.entries.len()), (1, 2), "after {steps} steps");
    }
}

#[test]
fn a_del_that_dies_after_any_step_is_finished_by_the_next_one_or_by_two_passes() {
    for steps in 0..=DEL_STEPS {
        for again in [true, false] {
            let mut node = Node::new();
            node.netns.insert(1);
            assert!(node.add(1, 1, ADD_STEPS));
            node.del(1, steps);
            if again {
                node.del(1, DEL_STEPS);
            } else {
                node.kill(1);
            }
            node.settle();
            node.assert_settled(&format!("del died after {steps}"));
            assert!(node.links.is_empty() && node.entries.is_empty(), "after {steps} steps");
            assert!(!node.facts().rows.iter().any(|row| row.state == State::Assigned));
        }
    }
}

#[test]
fn a_store_that_is_lost_is_rebuilt_from_the_kernel_before_the_next_add() {
    let mut node = Node::new();
    node.netns.extend([1, 2]);
    assert!(node.add(1, 1, ADD_STEPS) && node.add(2, 2, ADD_STEPS));
    let before = node.facts().rows;
    node.ledger = MemoryLedger::default();
    set_ranges(&mut node.ledger, &spec(), 0).unwrap();
    node.seen = Pass::default();
    assert!(node.pass(usize::MAX));
    let rebuilt = node.facts().rows;
    let holders = |rows: &[Row]| {
        rows.iter().map(|row| (row.address, row.owner.clone(), row.generation)).collect::<Vec<_>>()
    };
    assert_eq!(holders(&rebuilt), holders(&before));
    node.netns.insert(3);
    assert!(node.add(3, 3, ADD_STEPS));
    node.settle();
    node.assert_settled("after rebuilding");
    assert!(rebuilt.iter().all(|row| row.generation < Generation(u64::MAX)));
}

/// splitmix64: the same seed gives the same run everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((value ^ (value >> 31)) % limit as u64).unwrap()
    }
}

fn random_step(node: &mut Node, random: &mut Random) {
    let container = u32::try_from(random.below(6)).unwrap();
    // A container is created again in a new namespace now and then.
    let netns = 1 + u64::from(container) * 10 + u64::try_from(random.below(2)).unwrap();
    match random.below(10) {
        0..=3 => {
            node.netns.insert(netns);
            node.add(container, netns, random.below(2 * ADD_STEPS));
        }
        4..=6 => node.del(container, random.below(2 * DEL_STEPS)),
        7 => node.kill(netns),
        8 => drop(node.pass(random.below(6))),
        _ => node.now += u64::try_from(random.below(40_000)).unwrap(),
    }
}

#[test]
fn random_lives_with_random_deaths_never_share_an_address_and_never_leak() {
    for seed in 0..2_000 {
        let (mut node, mut random) = (Node::new(), Random(seed));
        for _ in 0..40 {
            random_step(&mut node, &mut random);
        }
        node.settle();
        node.assert_settled(&format!("seed {seed}"));
        for (link, netns) in node.links.values() {
            assert!(node.netns.contains(netns), "seed {seed}: {} outlived its namespace", link.alias);
        }
    }
}
