//! The object of a debug build: its log, and that it is installed, stays and goes like the other.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use aya::{maps::MapInfo, programs::ProgramInfo};
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};
use naru_abi::{Hook, programs};
use naru_bpf::{Pins, Sizes, install_object, object};
use naru_e2e::dist;

use crate::{
    node::Node,
    run::run,
    world::{A, B, FAMILIES, Family, populate},
};

const SIZES: Sizes = Sizes { pods: 64, routes: 64, flows: 64 };
const LOG: &str = "AYA_LOGS";

/// The object that `cargo xtask test` builds beside the embedded one.
fn debug_object() -> Vec<u8> {
    fs::read(dist::object("naru-datapath-debug.o").unwrap()).unwrap()
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        self.0.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

fn info(pins: &Pins, program: &str) -> ProgramInfo {
    ProgramInfo::from_pin(pins.program(program)).unwrap()
}

/// Names of the maps that the pinned programs use.
fn maps_in_use(pins: &Pins) -> Vec<String> {
    let ids = programs::ALL.iter().flat_map(|name| info(pins, name).map_ids().unwrap().unwrap());
    ids.map(|id| MapInfo::from_id(id).unwrap().name_as_str().unwrap().to_owned()).collect()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_debug_build_logs_each_packet_once_with_its_outcome_and_addresses() {
    let node = Node::new();
    install_object(&node.pins, SIZES, &debug_object()).unwrap();
    populate(&node);
    let lines = Lines::default();
    let id = info(&node.pins, programs::FROM_POD).id();
    let mut logger = EbpfLogger::init_from_id_with_logger(id, lines.clone()).unwrap();
    let ifindex = node.ifindex(A.interface);
    for family in FAMILIES {
        run(&node, Hook::FromPod, ifindex, &A.sends(family, B.address(family)).frame(), None);
    }
    let forged = A.sends(Family::V4, B.address(Family::V4));
    run(&node, Hook::FromPod, node.ifindex(B.interface), &forged.frame(), None);
    logger.flush();
    let wanted = [
        format!("hook 0 if {ifindex} outcome 0.0 from 10.1.0.1 to 10.1.0.2"),
        format!("hook 0 if {ifindex} outcome 0.0 from fd00:1::1 to fd00:1::2"),
        format!("hook 0 if {} outcome 2.0 from 10.1.0.1 to 10.1.0.2", node.ifindex(B.interface)),
    ];
    assert_eq!(*lines.0.lock().unwrap(), wanted);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_debug_build_takes_over_a_node_stays_over_a_second_install_and_leaves_nothing_to_the_next_build() {
    let node = Node::new();
    assert!(!maps_in_use(&node.pins).iter().any(|name| name == LOG), "a normal build logs");
    let debug = debug_object();
    let first = install_object(&node.pins, SIZES, &debug).unwrap();
    assert_eq!((first.maps_created, first.programs_replaced), (vec![], programs::ALL.to_vec()));
    assert!(maps_in_use(&node.pins).iter().any(|name| name == LOG));
    assert_eq!(fs::read_dir(node.pins.root()).unwrap().count(), naru_abi::maps::ALL.len() + 2);

    let id = info(&node.pins, programs::FROM_POD).id();
    let second = install_object(&node.pins, SIZES, &debug).unwrap();
    assert_eq!((second.maps_created, second.programs_replaced), (vec![], vec![]));
    assert_eq!(info(&node.pins, programs::FROM_POD).id(), id);

    let normal = install_object(&node.pins, SIZES, object().unwrap()).unwrap();
    assert_eq!(normal.programs_replaced, programs::ALL.to_vec());
    assert_eq!(maps_in_use(&node.pins).iter().find(|name| *name == LOG || name.contains("rodata")), None);
}
