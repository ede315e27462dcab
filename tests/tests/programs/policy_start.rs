//! The judgement by policies comes with a node's first policy, and stays through everything that replaces programs.

use std::fs;

use aya::programs::{ProgramInfo, SchedClassifier};
use naru_abi::{DropReason, Outcome, Verdict, maps, pod_flags, policy::CLOSED_SUBJECT, programs};
use naru_bpf::{Error, Pins, Policies, add_policies, discard_policy_links, has_policies, install};

use crate::{
    node::{Node, SIZES},
    policy::{dns, isolate, node, send},
    world::{A, B, FAMILIES},
};

fn id(pins: &Pins, program: &str) -> u32 {
    ProgramInfo::from_pin(pins.program(program)).unwrap().id()
}

/// Pinned links of the judgement.
fn links(pins: &Pins) -> usize {
    let names = fs::read_dir(pins.links()).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with(programs::POLICY_JUDGE)).count()
}

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
fn a_node_has_maps_of_policies_and_their_judgement_from_the_first_policy_on() {
    let node = node();
    let pins = &node.pins;
    assert!(maps::OF_POLICIES.iter().all(|name| !pins.map(name).exists()));
    assert!(matches!(Policies::open(pins), Err(Error::NotInstalled(_))));
    assert!(!has_policies(pins).unwrap());
    let ids = programs::ALL.map(|name| id(pins, name));
    assert!(add_policies(pins, SIZES).unwrap());
    assert!(has_policies(pins).unwrap());
    assert!(!add_policies(pins, SIZES).unwrap(), "again");
    assert_eq!(ids, programs::ALL.map(|name| id(pins, name)), "the programs stay");
    assert_eq!(links(pins), programs::ALL.len());
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
    for kept in 0..=maps::OF_POLICIES.len() + 1 + programs::ALL.len() {
        let node = node();
        let pins = &node.pins;
        add_policies(pins, SIZES).unwrap();
        let maps = maps::OF_POLICIES.map(|name| pins.map(name));
        let judge = pins.program(programs::POLICY_JUDGE);
        let links = programs::ALL.map(|name| pins.link(programs::POLICY_JUDGE, id(pins, name)));
        let all: Vec<_> = maps.into_iter().chain([judge]).chain(links).collect();
        // From the last on, as each is held by those before it.
        all.iter().skip(kept).rev().for_each(|pin| fs::remove_file(pin).unwrap());
        assert_eq!(has_policies(pins).unwrap(), kept == all.len());
        add_policies(pins, SIZES).unwrap();
        assert!(has_policies(pins).unwrap(), "kept {kept}");
        dns(&node);
        assert_eq!(ends(&node), JUDGED, "kept {kept}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn programs_that_an_install_replaces_judge_from_their_first_packet_on() {
    let node = node();
    let pins = &node.pins;
    dns(&node);
    // The other program under its name: as after an upgrade of the binary.
    fs::remove_file(pins.program(programs::FROM_POD)).unwrap();
    let mut other = SchedClassifier::from_pin(pins.program(programs::TO_POD)).unwrap();
    other.pin(pins.program(programs::FROM_POD)).unwrap();
    let again = install(pins, SIZES).unwrap();
    assert_eq!((again.maps_created, again.programs_replaced), (vec![], vec![programs::FROM_POD]));
    assert_eq!(ends(&node), JUDGED);
    assert!(has_policies(pins).unwrap());
    assert_eq!(links(pins), programs::ALL.len() + 1, "the old one judges until the devices have the new one");
    discard_policy_links(pins).unwrap();
    assert_eq!((links(pins), ends(&node)), (programs::ALL.len(), JUDGED));
    let third = install(pins, SIZES).unwrap();
    assert_eq!((third.maps_created, third.programs_replaced), (vec![], vec![]));
    assert!(!pins.program("policy_judge_new").exists());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn another_judgement_comes_with_programs_of_its_own() {
    let node = node();
    let pins = &node.pins;
    dns(&node);
    let before = programs::ALL.map(|name| id(pins, name));
    // Another program under its name: as after an upgrade that judges differently.
    let judge = pins.program(programs::POLICY_JUDGE);
    fs::remove_file(&judge).unwrap();
    SchedClassifier::from_pin(pins.program(programs::TO_POD)).unwrap().pin(&judge).unwrap();
    let again = install(pins, SIZES).unwrap();
    assert_eq!(again.programs_replaced, programs::ALL.to_vec());
    assert!(before.iter().zip(programs::ALL).all(|(old, name)| *old != id(pins, name)));
    discard_policy_links(pins).unwrap();
    assert!(has_policies(pins).unwrap());
    assert_eq!((links(pins), ends(&node)), (programs::ALL.len(), JUDGED));
}
