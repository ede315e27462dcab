//! Kind 10 and 17: maps that are listed whole while pods come and go.
#![expect(clippy::unwrap_used, reason = "a failing step of a test ends it")]

mod machine;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use machine::Machine;
use naru_abi::{Addr, PodValue};
use naru_bpf::{Pins, Pods};

/// More than one call of the kernel lists.
const STAYING: u32 = 3_000;
/// Entries that come and go meanwhile, in the same buckets.
const COMING: u32 = 2_000;

fn address(number: u32) -> Addr {
    IpAddr::from(Ipv4Addr::from(0x0a4d_0000 + number)).into()
}

fn value(number: u32) -> PodValue {
    PodValue { generation: u64::from(number), ifindex: number + 1, ..PodValue::EMPTY }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_listing_of_pods_has_each_that_stays_once_while_others_come_and_go() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let pins = Pins::at(machine.pins());
    let mut map = Pods::open(&pins).unwrap();
    (0..STAYING).for_each(|number| map.insert(address(number), value(number)).unwrap());
    let (is_over, rounds) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut map = Pods::open(&pins).unwrap();
            while !is_over.load(Ordering::Relaxed) {
                for number in STAYING..STAYING + COMING {
                    map.insert(address(number), value(number)).unwrap();
                }
                for number in STAYING..STAYING + COMING {
                    assert!(map.delete(address(number)).unwrap());
                }
                rounds.store(true, Ordering::Relaxed);
            }
        });
        let mut listings = 0;
        while listings < 50 || !rounds.load(Ordering::Relaxed) {
            let mut seen: BTreeMap<Addr, u32> = BTreeMap::new();
            for (address, value) in map.entries().unwrap() {
                assert_eq!(value.address, address, "a value of another key");
                *seen.entry(address).or_default() += 1;
            }
            let wrong = (0..STAYING).find(|number| seen.get(&address(*number)) != Some(&1));
            assert_eq!(wrong, None, "an entry that stays is missing, or there twice");
            listings += 1;
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let after = map.entries().unwrap();
    assert_eq!(after.len(), STAYING as usize);
}
