//! The allocator compared with a model that knows only the holders and the times of return.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::memory::MemoryLedger;
use super::*;
use crate::ids::{AttachmentId, NetnsId};

const COOLING: Millis = 100;
const CONTAINERS: u8 = 12;

/// Sets of ranges a pool may be given; small, so that it is often full.
const RANGES: [&[&str]; 7] = [
    &["10.0.0.0/29", "fd00::/125"],
    &["10.0.0.0/29"],
    &["10.0.0.0/30", "10.0.0.8/30", "fd00::/126"],
    &["fd00::/124"],
    &["10.0.0.0/28", "fd00::/127"],
    &["10.0.0.4/32", "10.0.0.9/32", "fd00::1/128"],
    &[],
];

#[derive(Clone, Debug)]
enum Op {
    Add {
        container: u8,
        netns: u64,
        exact: Option<u8>,
    },
    Del {
        container: u8,
    },
    Free {
        container: u8,
        stale: bool,
    },
    Tick(Millis),
    /// The caller dies in the middle: the transaction never commits.
    Crash {
        container: u8,
    },
    SetRanges {
        choice: usize,
        reserved: u8,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let container = 0..CONTAINERS;
    prop_oneof![
        8 => (container.clone(), 0..2_u64, prop::option::weighted(0.2, 0..16_u8))
            .prop_map(|(container, netns, exact)| Op::Add { container, netns, exact }),
        6 => container.clone().prop_map(|container| Op::Del { container }),
        2 => (container.clone(), any::<bool>()).prop_map(|(container, stale)| Op::Free { container, stale }),
        3 => (0..2 * COOLING).prop_map(Op::Tick),
        1 => container.prop_map(|container| Op::Crash { container }),
        1 => (0..RANGES.len(), 0..16_u8).prop_map(|(choice, reserved)| Op::SetRanges { choice, reserved }),
    ]
}

/// The truths about the ledger, told without bitmaps, rows or cursors.
#[derive(Default)]
struct Model {
    ledger: MemoryLedger,
    now: Millis,
    held: BTreeMap<u8, (u64, BTreeSet<IpAddr>)>,
    given_back: BTreeMap<IpAddr, Millis>,
    nets: Vec<ipnet::IpNet>,
    reserved: BTreeSet<IpAddr>,
}

fn id(container: u8) -> AttachmentId {
    AttachmentId::new("naru", format!("c{container}"), "eth0").unwrap()
}

fn small(host: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, host])
}

impl Model {
    fn apply(&mut self, op: &Op) -> TestCaseResult {
        match *op {
            Op::Add { container, netns, exact } => self.add(container, netns, exact)?,
            Op::Del { container } => {
                let released = release(&mut self.ledger, &Domain::naru(), &id(container), self.now).unwrap();
                let held = self.held.remove(&container).map(|(_, held)| held).unwrap_or_default();
                prop_assert_eq!(&released.iter().map(|row| row.address).collect::<BTreeSet<_>>(), &held);
                self.cool(held);
            }
            Op::Free { container, stale } => self.free(container, stale)?,
            Op::Tick(by) => self.now += by,
            Op::Crash { container } => {
                let before = self.ledger.clone();
                let request = self.request(container, 0, None);
                let crash = |ledger: &mut MemoryLedger| {
                    let _ = assign(ledger, &request, self.now);
                    Err::<(), ()>(())
                };
                let _ = self.ledger.transact(crash);
                prop_assert_eq!(&self.ledger, &before);
            }
            Op::SetRanges { choice, reserved } => self.set_ranges(choice, reserved)?,
        }
        self.check()
    }

    fn request(&self, container: u8, netns: u64, exact: Option<u8>) -> AddressRequest {
        AddressRequest {
            netns: Some(NetnsId::Cookie(netns)),
            addresses: exact.map(small).into_iter().collect(),
            cooling: COOLING,
            ..AddressRequest::new(Domain::naru(), "default", id(container))
        }
    }

    fn add(&mut self, container: u8, netns: u64, exact: Option<u8>) -> TestCaseResult {
        let request = self.request(container, netns, exact);
        let before = self.held.get(&container).cloned();
        let now = self.now;
        let Ok(assignment) = self.ledger.transact(|ledger| assign(ledger, &request, now)) else {
            return self.refused(container, &request);
        };
        let got: BTreeSet<IpAddr> = assignment.addresses.iter().copied().collect();
        let same = |(at, held): &(u64, BTreeSet<IpAddr>)| {
            *at == netns && request.addresses.iter().all(|address| held.contains(address))
        };
        prop_assert_eq!(assignment.reused, before.as_ref().is_some_and(same));
        if let Some((_, held)) = before {
            if assignment.reused {
                prop_assert_eq!(got, held);
                return Ok(());
            }
            self.cool(held);
        }
        prop_assert!(request.addresses.iter().all(|address| got.contains(address)));
        self.check_new(&got, &request)?;
        self.given_back.retain(|address, _| !got.contains(address));
        self.held.insert(container, (netns, got));
        Ok(())
    }

    /// New addresses: one of each family that the pool has, inside it, not reserved, and cooled unless
    /// nothing else was left.
    fn check_new(&self, got: &BTreeSet<IpAddr>, request: &AddressRequest) -> TestCaseResult {
        let families =
            |addresses: &mut dyn Iterator<Item = IpAddr>| addresses.map(Family::of).collect::<Vec<_>>();
        let mut wanted = families(&mut self.nets.iter().map(ipnet::IpNet::addr));
        wanted.sort_unstable();
        wanted.dedup();
        prop_assert_eq!(families(&mut got.iter().copied()), wanted);
        for address in got {
            prop_assert!(self.nets.iter().any(|net| net.contains(address)), "{} is in no range", address);
            prop_assert!(!self.reserved.contains(address), "{} is reserved", address);
            let cooled = self.given_back.get(address).is_none_or(|since| self.now - since >= COOLING);
            let asked_for = request.addresses.contains(address);
            prop_assert!(
                cooled || asked_for || self.unused(Family::of(*address)).is_empty(),
                "{} reused early",
                address
            );
        }
        Ok(())
    }

    /// A refusal is right if an exact address cannot be had, or if a family has no address left, cooling or not.
    fn refused(&self, container: u8, request: &AddressRequest) -> TestCaseResult {
        let same = |(netns, held): &(u64, BTreeSet<IpAddr>)| {
            Some(NetnsId::Cookie(*netns)) == request.netns
                && request.addresses.iter().all(|address| held.contains(address))
        };
        prop_assert!(!self.held.get(&container).is_some_and(same), "refused what it holds");
        let others = |address: &IpAddr| {
            self.held.iter().any(|(other, (_, held))| *other != container && held.contains(address))
        };
        let usable = |address: &IpAddr| !self.reserved.contains(address) && !others(address);
        let inside = |address: &IpAddr| self.nets.iter().any(|net| net.contains(address));
        let exact_bad = request.addresses.iter().any(|address| !usable(address) || !inside(address));
        let empty = |net: &ipnet::IpNet| {
            let family = Family::of(net.addr());
            let nets = self.nets.iter().filter(|net| Family::of(net.addr()) == family);
            !nets.flat_map(every_address).any(|address| usable(&address))
        };
        prop_assert!(exact_bad || self.nets.is_empty() || self.nets.iter().any(empty), "refused for nothing");
        Ok(())
    }

    /// Addresses of a family that nothing holds and that have cooled.
    fn unused(&self, family: Family) -> BTreeSet<IpAddr> {
        let nets = self.nets.iter().filter(|net| Family::of(net.addr()) == family);
        let taken = |address: &IpAddr| {
            self.reserved.contains(address)
                || self.held.values().any(|(_, held)| held.contains(address))
                || self.given_back.get(address).is_some_and(|since| self.now - since < COOLING)
        };
        nets.flat_map(every_address).filter(|address| !taken(address)).collect()
    }

    fn cool(&mut self, addresses: BTreeSet<IpAddr>) {
        self.given_back.extend(addresses.into_iter().map(|address| (address, self.now)));
    }

    /// Frees as the reconciler does: by generation, everything that the assignment held or nothing.
    fn free(&mut self, container: u8, stale: bool) -> TestCaseResult {
        let naru = Domain::naru();
        let held = self.ledger.held_by(&naru, &id(container)).unwrap();
        let Some(row) = held.first() else { return Ok(()) };
        let generation = if stale { row.generation.next() } else { row.generation };
        let freed = free_if_generation(&mut self.ledger, (&naru, row.address), generation, self.now).unwrap();
        prop_assert_eq!(freed, !stale);
        if freed && let Some((_, held)) = self.held.remove(&container) {
            self.cool(held);
        }
        Ok(())
    }

    fn set_ranges(&mut self, choice: usize, reserved: u8) -> TestCaseResult {
        self.nets = RANGES[choice].iter().map(|net| net.parse().unwrap()).collect();
        let spec = PoolSpec::routed(Domain::naru(), "default", self.nets.clone());
        let changes =
            set_ranges(&mut self.ledger, &spec.reserve(small(reserved), "gateway"), self.now).unwrap();
        let anycast = |net: &&ipnet::IpNet| net.addr().is_ipv6() && net.prefix_len() < 127;
        let anycast = self.nets.iter().filter(anycast).map(ipnet::IpNet::network);
        let inside = self.nets.iter().any(|net| net.contains(&small(reserved)));
        let wanted: BTreeSet<IpAddr> = anycast.chain(inside.then(|| small(reserved))).collect();
        let held = |address: &IpAddr| self.held.values().any(|(_, held)| held.contains(address));
        let (conflicts, kept): (BTreeSet<IpAddr>, BTreeSet<IpAddr>) = wanted.into_iter().partition(held);
        let reported = changes.conflicts.iter().map(|row| row.address).collect::<BTreeSet<_>>();
        prop_assert_eq!(reported, conflicts);
        self.given_back.retain(|address, _| !kept.contains(address));
        self.reserved = kept;
        Ok(())
    }

    fn check(&self) -> TestCaseResult {
        let mut held = BTreeMap::new();
        for (container, (_, addresses)) in &self.held {
            for address in addresses {
                prop_assert_eq!(held.insert(*address, id(*container)), None, "{} is held twice", address);
            }
        }
        let in_state = |state| self.ledger.rows.values().filter(move |row| row.state == state);
        let assigned = in_state(State::Assigned).filter_map(|row| Some((row.address, row.owner.clone()?)));
        prop_assert_eq!(assigned.collect::<BTreeMap<_, _>>(), held);
        for row in in_state(State::Cooling) {
            prop_assert_eq!(self.given_back.get(&row.address), Some(&row.since), "{}", row.address);
        }
        self.check_ranges()
    }

    /// Checks that every bitmap agrees with the rows, and that a draining range still has an address in use.
    fn check_ranges(&self) -> TestCaseResult {
        let naru = Domain::naru();
        let mut active = BTreeSet::new();
        for (number, range) in self.ledger.ranges(&naru).unwrap() {
            for address in every_address(&range.net) {
                let offset = range.offset_of(address).unwrap();
                let chunk = self.ledger.chunk(number, offset / CHUNK_BITS).unwrap().unwrap();
                let free = chunk.first_free(offset % CHUNK_BITS) == Some(offset % CHUNK_BITS);
                prop_assert_eq!(
                    free,
                    !self.ledger.rows.contains_key(&(naru.clone(), address)),
                    "{}",
                    address
                );
            }
            if range.draining {
                prop_assert!(self.ledger.in_use(&naru, range.net).unwrap(), "{} drained", range.net);
            } else {
                active.insert(range.net);
            }
        }
        prop_assert_eq!(active, self.nets.iter().copied().collect::<BTreeSet<_>>());
        Ok(())
    }
}

fn every_address(net: &ipnet::IpNet) -> Vec<IpAddr> {
    let (domain, pool, turn) = (Domain::naru(), String::new(), crate::ids::Generation(0));
    let range = Range { domain, pool, net: *net, draining: false, cursor: 0, turn };
    (0..range.size()).map(|offset| range.address_at(offset)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_address_is_ever_held_twice_lost_or_given_out_of_turn(ops in prop::collection::vec(op(), 1..120)) {
        let mut model = Model::default();
        model.set_ranges(0, 3)?;
        for op in &ops {
            model.apply(op)?;
        }
    }
}
