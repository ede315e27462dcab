//! From the backends that a frontend has in numbered slots to those that it is to have, in place.
//!
//! Whoever draws a slot meanwhile reads the number of slots first, and then the slot: after every step each slot within
//! the number has a backend, and none of them is one that was given up by a step before.

use std::collections::{BTreeMap, BTreeSet};

use super::Backend;

/// A step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The slot has this backend from now on.
    Put(u32, Backend),
    /// So many slots count from now on.
    Count(u32),
    /// The slot is empty; it counts no longer.
    Clear(u32),
}

/// The steps from `held`, by slot, to `wanted`: at most one for each backend that comes, three for each that goes, and
/// one for the count.
#[must_use]
pub fn steps(held: &[Backend], wanted: &[Backend]) -> Vec<Step> {
    let is_wanted: BTreeSet<&Backend> = wanted.iter().collect();
    let is_held: BTreeSet<&Backend> = held.iter().collect();
    let mut coming = wanted.iter().filter(|backend| !is_held.contains(backend)).copied();
    let mut slots = held.to_vec();
    let mut steps = Vec::new();
    let mut holes = Vec::new();
    for (slot, backend) in slots.iter_mut().enumerate() {
        if !is_wanted.contains(backend) {
            match coming.next() {
                Some(new) => {
                    *backend = new;
                    steps.push(Step::Put(number(slot), new));
                }
                None => holes.push(slot),
            }
        }
    }
    for new in coming {
        steps.push(Step::Put(number(slots.len()), new));
        slots.push(new);
    }
    let before = slots.len();
    for hole in holes.into_iter().rev() {
        // Every slot behind this hole has a backend that stays.
        if let Some(last) = slots.pop()
            && hole < slots.len()
        {
            slots[hole] = last;
            steps.push(Step::Put(number(hole), last));
        }
    }
    if slots.len() != held.len() {
        steps.push(Step::Count(number(slots.len())));
    }
    steps.extend((slots.len()..before).map(|slot| Step::Clear(number(slot))));
    steps
}

/// The slot of each backend after these steps.
#[must_use]
pub fn after(held: &[Backend], steps: &[Step]) -> BTreeMap<u32, Backend> {
    let mut slots: BTreeMap<u32, Backend> =
        held.iter().enumerate().map(|(slot, backend)| (number(slot), *backend)).collect();
    for step in steps {
        match *step {
            Step::Put(slot, backend) => drop(slots.insert(slot, backend)),
            Step::Clear(slot) => drop(slots.remove(&slot)),
            Step::Count(_) => {}
        }
    }
    slots
}

fn number(slot: usize) -> u32 {
    u32::try_from(slot).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn backends(ports: &BTreeSet<u16>) -> Vec<Backend> {
        ports.iter().map(|port| Backend { address: [10, 1, 0, 1].into(), port: *port }).collect()
    }

    proptest! {
        #[test]
        fn after_every_step_each_slot_that_counts_has_a_backend_that_serves(
            held in prop::collection::btree_set(0..40u16, 0..20),
            wanted in prop::collection::btree_set(0..40u16, 0..20),
        ) {
            let (held, wanted) = (backends(&held), backends(&wanted));
            let steps = steps(&held, &wanted);
            let mut count = held.len();
            for done in 0..=steps.len() {
                let slots = after(&held, &steps[..done]);
                if let Some(Step::Count(now)) = done.checked_sub(1).map(|last| steps[last]) {
                    count = now as usize;
                }
                prop_assert!((0..count).all(|slot| slots.contains_key(&number(slot))), "{steps:?}");
            }
            let slots: Vec<Backend> = after(&held, &steps).into_values().collect();
            prop_assert_eq!(slots.len(), wanted.len());
            prop_assert_eq!(count, wanted.len());
            prop_assert_eq!(slots.into_iter().collect::<BTreeSet<_>>(), wanted.into_iter().collect());
        }

        #[test]
        fn one_endpoint_costs_three_steps_at_most(
            ports in prop::collection::btree_set(0..999u16, 2..300),
            at: prop::sample::Index,
        ) {
            let all = backends(&ports);
            let mut others = all.clone();
            others.remove(at.index(all.len()));
            prop_assert!(steps(&all, &others).len() <= 3);
            prop_assert!(steps(&others, &all).len() <= 2);
        }
    }
}
