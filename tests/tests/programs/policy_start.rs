//! The judgement by policies comes with a node's first policy, and stays through everything that replaces programs.

use std::fs;

use aya::programs::SchedClassifier;
use naru_abi::{DropReason, Outcome, Verdict, maps, pod_flags, policy::CLOSED_SUBJECT, programs};
use naru_bpf::{Error, Policies, add_policy_maps, has_policies, install};

use crate::{
    node::{Node, SIZES},
    policy::{dns, isolate, node, send},
    world::{A, B, FAMILIES},
};

/// The ends of a packet from A to a port of B that the rules of [`dns`] allow, and to one that they do not.
fn ends(node: &Node) -> [Outcome; 2] {
    [53, 54].map(|port| {
        let ends =
            FAMILIES.map(|family| send(node, A, &A.sends(family, B.address(family)).ports(4000, port)));
        assert_eq!(ends[0], ends[1]);
        ends[0]
    })
}

const JUDGED: [Outcome; 2] = [Outcome::Verdict(Verdict::Peer), Outcome::Drop(DropReason::PolicyEgress)];
const CLOSED: [Outcome; 2] = [Outcome::Drop(DropReason::PolicyEgress); 2];

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_node_has_maps_of_policies_and_programs_that_judge_from_the_first_policy_on() {
    let node = node();
    let pins = &node.pins;
    assert!(maps::OF_POLICIES.iter().all(|name| !pins.map(name).exists()));
    assert!(matches!(Policies::open(pins), Err(Error::NotInstalled(_))));
    add_policy_maps(pins, SIZES).unwrap();
    assert!(!has_policies(pins).unwrap(), "before the programs");
    let installed = install(pins, SIZES).unwrap();
    assert_eq!((installed.maps_created, installed.programs_replaced), (vec![], programs::ALL.to_vec()));
    assert!(has_policies(pins).unwrap());
    add_policy_maps(pins, SIZES).unwrap();
    let again = install(pins, SIZES).unwrap();
    assert_eq!((again.maps_created, again.programs_replaced), (vec![], vec![]));
    dns(&node);
    assert_eq!(ends(&node), JUDGED);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pod_that_is_isolated_where_nothing_judges_is_closed() {
    let node = node();
    isolate(&node, A, CLOSED_SUBJECT, pod_flags::JUDGED);
    assert_eq!(ends(&node), CLOSED);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_first_policy_that_was_killed_anywhere_is_completed_by_the_next() {
    for kept in 0..maps::OF_POLICIES.len() {
        let node = node();
        let pins = &node.pins;
        add_policy_maps(pins, SIZES).unwrap();
        maps::OF_POLICIES.iter().skip(kept).for_each(|name| fs::remove_file(pins.map(name)).unwrap());
        let between = install(pins, SIZES).unwrap();
        assert_eq!(between.programs_replaced, Vec::<&str>::new(), "kept {kept}");
        assert!(!has_policies(pins).unwrap(), "kept {kept}");
        dns(&node);
        assert!(has_policies(pins).unwrap(), "kept {kept}");
        assert_eq!(ends(&node), JUDGED, "kept {kept}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn programs_that_an_install_replaces_judge_as_those_before_them() {
    let node = node();
    let pins = &node.pins;
    dns(&node);
    // The other program under its name: as after an upgrade of the binary.
    fs::remove_file(pins.program(programs::FROM_POD)).unwrap();
    let mut other = SchedClassifier::from_pin(pins.program(programs::TO_POD)).unwrap();
    other.pin(pins.program(programs::FROM_POD)).unwrap();
    let again = install(pins, SIZES).unwrap();
    assert_eq!((again.maps_created, again.programs_replaced), (vec![], vec![programs::FROM_POD]));
    assert!(has_policies(pins).unwrap());
    assert_eq!(ends(&node), JUDGED);
}
