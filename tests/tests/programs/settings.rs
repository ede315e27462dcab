//! The node's configuration while it changes.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use aya::maps::{Array, Map, MapData};
use naru_abi::{Addr, CONFIG_SLOTS, Config, ConfigSlots, Hook::FromPod, features, maps};
use naru_bpf::Pins;

use crate::{
    kernel::has_encapsulation,
    node::{Node, config},
    run::run,
    world::{A, Family, populate},
};

#[repr(transparent)]
#[derive(Clone, Copy)]
struct Raw(ConfigSlots);
// SAFETY: the type is plain: integers and byte arrays in a fixed layout, without padding.
unsafe impl aya::Pod for Raw {}

fn slots(pins: &Pins) -> ConfigSlots {
    let map = Map::from_map_data(MapData::from_pin(pins.map(maps::CONFIG)).unwrap()).unwrap();
    let map: Array<_, Raw> = map.try_into().unwrap();
    map.get(&0, 0).unwrap().0
}

/// Configurations that differ in every field that a tunnel packet shows.
fn numbered(device: u32, number: u8) -> Config {
    Config {
        features: features::OWN_ENCAPSULATION,
        tunnel_port: 4000 + u32::from(number),
        vni: u32::from(number),
        node_v4: Addr::v4([192, 0, 2, 100 + number]),
        ..config(device)
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_change_leaves_every_byte_of_the_configuration_in_force_as_it_was() {
    let node = Node::new();
    let mut map = node.datapath().config().unwrap();
    for number in 1..=2 * CONFIG_SLOTS as u8 {
        let before = slots(&node.pins);
        let in_force = ConfigSlots::position(before.current);
        map.set(numbered(7, number)).unwrap();
        let after = slots(&node.pins);
        assert_eq!(after.slots[in_force], before.slots[in_force]);
        assert_ne!(ConfigSlots::position(after.current), in_force);
        assert_eq!(map.get().unwrap(), numbered(7, number));
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_packet_sees_one_configuration_while_it_changes() {
    if !has_encapsulation() {
        return;
    }
    let node = Node::new();
    populate(&node);
    let device = node.ifindex("pod5");
    let frame = A.sends(Family::V4, Family::V4.remote_pod()).frame();
    let mut map = node.datapath().config().unwrap();
    map.set(numbered(device, 1)).unwrap();
    let is_done = AtomicBool::new(false);
    let mut seen = [0; 2];
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in [2, 1].into_iter().cycle() {
                map.set(numbered(device, number)).unwrap();
                if is_done.load(Ordering::Relaxed) {
                    break;
                }
                // All slots are used again only after longer than a program ever runs.
                thread::sleep(Duration::from_micros(50));
            }
        });
        for _ in 0..3000 {
            let out = run(&node, FromPod, node.ifindex(A.interface), &frame, None).frame;
            let number = out[14 + 15] - 100;
            let port = u16::from_be_bytes([out[14 + 22], out[14 + 23]]);
            let vni = out[14 + 34];
            assert_eq!((port, vni), (4000 + u16::from(number), number), "a mixture of two configurations");
            seen[usize::from(number) - 1] += 1;
        }
        is_done.store(true, Ordering::Relaxed);
    });
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}
