use std::{collections::BTreeMap, fs};

use aya::{
    maps::{MapData, MapType},
    programs::{ProgramInfo, SchedClassifier},
};
use naru_abi::{ABI_VERSION, maps, programs};
use naru_bpf::{Datapath, Error, Pins, Sizes, install, install_object, installed_sizes, object, probe};
use naru_e2e::tool;

use crate::{
    node::{BpfFs, Node, unique},
    world::{A, Family, PODS, interface, populate},
};

const SIZES: Sizes = Sizes { pods: 64, routes: 64, flows: 64 };

fn bpffs() -> (BpfFs, Pins) {
    let bpffs = BpfFs::mount(&unique());
    let pins = Pins::at(bpffs.path().join(format!("abi{ABI_VERSION}")));
    (bpffs, pins)
}

fn program_ids(pins: &Pins) -> BTreeMap<&'static str, u32> {
    programs::ALL.map(|name| (name, ProgramInfo::from_pin(pins.program(name)).unwrap().id())).into()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_first_install_makes_everything_and_the_second_changes_nothing() {
    let (_bpffs, pins) = bpffs();
    assert!(matches!(Datapath::open(&pins), Err(Error::NotInstalled(_))));
    let first = install(&pins, SIZES).unwrap();
    assert_eq!(
        (first.maps_created.as_slice(), first.programs_replaced.as_slice()),
        (&maps::ALL[..], &programs::ALL[..])
    );
    let ids = program_ids(&pins);
    let second = install(&pins, SIZES).unwrap();
    assert_eq!((second.maps_created, second.programs_replaced), (vec![], vec![]));
    assert_eq!(program_ids(&pins), ids);
    assert_eq!(installed_sizes(&pins).unwrap(), Some(SIZES));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_install_killed_anywhere_is_completed_by_the_next() {
    // The steps of an install leave one pin each, in this order, so a kill leaves some first part of them.
    let steps = maps::ALL.len() + programs::ALL.len();
    for kept in 0..=steps {
        let (_bpffs, pins) = bpffs();
        install(&pins, SIZES).unwrap();
        let all = maps::ALL
            .map(|name| pins.map(name))
            .into_iter()
            .chain(programs::ALL.map(|name| pins.program(name)));
        all.skip(kept).for_each(|pin| fs::remove_file(pin).unwrap());
        let again = install(&pins, SIZES).unwrap();
        Datapath::open(&pins).unwrap();
        assert_eq!(again.maps_created.len(), maps::ALL.len().saturating_sub(kept), "kept {kept}");
        assert_share_maps(&pins);
    }
}

/// Every pinned program uses pinned maps only.
fn assert_share_maps(pins: &Pins) {
    let pinned = maps::ALL.map(|name| MapData::from_pin(pins.map(name)).unwrap().info().unwrap().id());
    for name in programs::ALL {
        let used = ProgramInfo::from_pin(pins.program(name)).unwrap().map_ids().unwrap().unwrap();
        assert!(used.iter().all(|id| pinned.contains(id)), "{name} uses {used:?}, pinned are {pinned:?}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pinned_map_of_another_size_or_type_is_refused_by_name() {
    let (_bpffs, pins) = bpffs();
    install(&pins, SIZES).unwrap();
    let refused = install(&pins, Sizes { pods: 65, ..SIZES }).unwrap_err();
    assert!(
        matches!(refused, Error::Mismatch { property: "capacity", found: 64, wanted: 65, .. }),
        "{refused}"
    );

    fs::rename(pins.map(maps::STATS), pins.map("KEPT")).unwrap();
    fs::rename(pins.map(maps::ROUTES), pins.map(maps::STATS)).unwrap();
    let refused = install(&pins, SIZES).unwrap_err();
    assert!(refused.to_string().contains("STATS: type is"), "{refused}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_program_of_other_instructions_is_replaced_and_the_maps_stay() {
    let (_bpffs, pins) = bpffs();
    install(&pins, SIZES).unwrap();
    // The other program under its name: as after an upgrade of the binary.
    fs::remove_file(pins.program(programs::TO_POD)).unwrap();
    let mut other = SchedClassifier::from_pin(pins.program(programs::FROM_POD)).unwrap();
    other.pin(pins.program(programs::TO_POD)).unwrap();
    let again = install(&pins, SIZES).unwrap();
    assert_eq!((again.maps_created, again.programs_replaced), (vec![], vec![programs::TO_POD]));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_object_that_is_none_is_an_error_and_pins_nothing() {
    let (_bpffs, pins) = bpffs();
    assert!(matches!(install_object(&pins, SIZES, b"no object"), Err(Error::Object(_))));
    assert_eq!(pins.first_missing(), Some(pins.map(maps::PODS)));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn this_kernel_has_every_required_feature() {
    let missing: Vec<_> = probe().missing().collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn bpftool_names_the_fields_of_every_map() {
    let node = Node::new();
    populate(&node);
    let dump =
        |map| tool::run(node.netns(), &format!("bpftool map dump pinned {}", node.pins.map(map).display()));
    let expected = [
        (maps::PODS, ["generation", "ifindex", "pod_mac"]),
        (maps::INTERFACES, ["flags", "host_mac", "pod_mac"]),
        (maps::ROUTES, ["prefix_len", "destination", "transport"]),
        (maps::CONFIG, ["tunnel_port", "vni", "overlay_ifindex"]),
        (maps::STATS, ["packets", "bytes", "cpu"]),
        (maps::POD_SLOTS, ["ifindex", "rx", "outcomes"]),
    ];
    for (map, fields) in expected {
        let text = dump(map).unwrap();
        fields
            .iter()
            .for_each(|field| assert!(text.contains(&format!("\"{field}\"")), "{map}: {field}: {text}"));
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_object_holds_our_maps_and_no_other_and_prefers_no_memory() {
    let (_bpffs, pins) = bpffs();
    install(&pins, Sizes::default()).unwrap();
    // A map that is not pinned (constants, say) would make every load look like another program.
    assert_share_maps(&pins);
    for name in [maps::PODS, maps::INTERFACES, maps::ROUTES, maps::POD_STATS] {
        let info = MapData::from_pin(pins.map(name)).unwrap().info().unwrap();
        assert_eq!(info.map_flags() & 1, 1, "{name}: BPF_F_NO_PREALLOC");
        assert_ne!(info.map_type().unwrap(), MapType::LruHash);
    }
    assert!(object().is_some());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_entry_is_deleted_by_its_own_generation_only() {
    let node = Node::new();
    populate(&node);
    let mut pods = node.datapath().pods().unwrap();
    let address = A.address(Family::V4);
    assert!(!pods.delete_generation(address, 2).unwrap());
    assert!(pods.get(address).unwrap().is_some());
    assert!(pods.delete_generation(address, 1).unwrap());
    assert_eq!(pods.get(address).unwrap(), None);
    assert!(!pods.delete(address).unwrap());
    assert_eq!(pods.entries().unwrap().len(), 2 * PODS.len() - 1);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_prefix_is_found_by_the_longest_match_and_deleted_exactly() {
    let node = Node::new();
    populate(&node);
    let mut routes = node.datapath().routes().unwrap();
    let all = routes.entries().unwrap().len();
    let block = naru_abi::Prefix::new(Family::V4.pick("10.2.0.0", "fd00:2::"), 24);
    assert!(routes.lookup(Family::V4.remote_pod()).unwrap().is_some());
    assert!(!routes.delete(naru_abi::Prefix::new(Family::V4.pick("10.2.0.0", "fd00:2::"), 25)).unwrap());
    assert!(routes.delete(block).unwrap());
    assert_eq!(routes.lookup(Family::V4.remote_pod()).unwrap(), None);
    assert_eq!(routes.entries().unwrap().len(), all - 1);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_interface_is_known_from_add_to_remove() {
    let node = Node::new();
    let mut interfaces = node.datapath().interfaces().unwrap();
    let value = interface(A, 77);
    interfaces.add(77, value).unwrap();
    assert_eq!(interfaces.get(77).unwrap(), Some(value));
    assert_eq!(interfaces.list().unwrap(), [77]);
    assert_eq!(interfaces.counters(77).unwrap().unwrap().outcomes, []);
    assert!(interfaces.remove(77).unwrap());
    assert_eq!((interfaces.counters(77).unwrap(), interfaces.get(77).unwrap()), (None, None));
    assert!(!interfaces.remove(77).unwrap());
}
