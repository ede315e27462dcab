//! Turns a node's clock back: its datapath becomes the one of ABI 4, object and layouts, as an older naru left it.
//!
//! `abi4.o` is `target/bpf/naru-datapath.o` of the last commit with that ABI, without debug information and with the
//! texts that only those name blotted out; it is not built here because its sources are no longer.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use aya::{
    EbpfLoader,
    maps::{
        Array, HashMap, MapData, PerCpuArray, PerCpuValues,
        lpm_trie::{Key, LpmTrie},
    },
    programs::{
        SchedClassifier,
        links::{FdLink, PinnedLink},
        tc::SchedClassifierLink,
    },
    util::nr_cpus,
};
use naru_abi::{Addr, Prefix};
use naru_bpf::{ConfigMap, Interfaces, Pins, Pods};
use serde_json::Value;

use super::machine::{Machine, run, wait};

const OBJECT: &[u8] = include_bytes!("abi4.o");
/// The version that the programs ask for.
const ABI: u32 = 4;
/// The version of the pins: 3 had the same layouts, but for what is not migrated.
pub const PINNED: u32 = naru_abi::ABI_VERSION - 1;

const MAPS: [&str; 9] =
    ["PODS", "INTERFACES", "ROUTES", "CONFIG", "STATS", "POD_SLOTS", "POD_STATS", "FLOWS", "WAYS"];
const KINDS: [&str; 7] =
    ["tunnel", "direct", "local-block", "remote-node", "local-node", "no-masquerade", "direct-node"];
/// Bytes of a value of `POD_SLOTS`.
const SLOT: usize = 568;

/// The directory of the older version's pins.
pub fn pins(machine: &Machine) -> Pins {
    Pins::at(machine.path(&format!("run/bpf/abi{PINNED}")))
}

fn pins_now(machine: &Machine) -> Pins {
    Pins::at(machine.pins())
}

/// The node's datapath as the older version had it, with the same pods; no packet is lost, but nobody counts on that.
pub fn turn_back(machine: &Machine) {
    let (old, now) = (pins(machine), pins_now(machine));
    for directory in [old.root().to_owned(), old.programs(), old.links()] {
        fs::create_dir_all(directory).unwrap();
    }
    let mut loader = EbpfLoader::new();
    for name in MAPS {
        loader.map_pin_path(name, old.map(name));
    }
    let mut ebpf = loader.load(OBJECT).unwrap();
    fill(machine, &old, &now);
    for name in naru_abi::programs::ALL {
        let program: &mut SchedClassifier = ebpf.program_mut(name).unwrap().try_into().unwrap();
        program.load().unwrap();
        program.pin(old.program(name)).unwrap();
        take_links(program, name, &old, &now);
    }
    take_filters(machine, &old);
    fs::remove_dir_all(now.root()).unwrap();
    let facts = machine.path("run/node.json");
    let mut content: Value = serde_json::from_slice(&fs::read(&facts).unwrap()).unwrap();
    content.as_object_mut().unwrap().remove("format");
    content["abi"] = PINNED.into();
    fs::write(facts, content.to_string()).unwrap();
}

fn open<M: TryFrom<aya::maps::Map, Error = aya::maps::MapError>>(pin: PathBuf) -> M {
    aya::maps::Map::from_map_data(MapData::from_pin(pin).unwrap()).and_then(M::try_from).unwrap()
}

fn fill(machine: &Machine, old: &Pins, now: &Pins) {
    let mut pods: HashMap<MapData, [u8; 16], [u8; 32]> = open(old.map("PODS"));
    for (address, value) in Pods::open(now).unwrap().entries().unwrap() {
        let words = [value.ifindex, value.flags | value.marks(), value.mtu].map(u32::to_ne_bytes).concat();
        let bytes = [&value.generation.to_ne_bytes()[..], &words, &value.pod_mac, &value.host_mac].concat();
        pods.insert(address.octets, <[u8; 32]>::try_from(bytes).unwrap(), 0).unwrap();
    }
    let mut interfaces: HashMap<MapData, u32, [u8; 16]> = open(old.map("INTERFACES"));
    let mut slots: PerCpuArray<MapData, [u8; SLOT]> = open(old.map("POD_SLOTS"));
    let known = Interfaces::open(now).unwrap();
    for ifindex in known.list().unwrap() {
        let value = known.get(ifindex).unwrap().unwrap();
        let bytes = [&value.flags.to_ne_bytes()[..], &value.host_mac, &value.pod_mac].concat();
        interfaces.insert(ifindex, <[u8; 16]>::try_from(bytes).unwrap(), 0).unwrap();
        let mut slot = [0; SLOT];
        slot[..4].copy_from_slice(&ifindex.to_ne_bytes());
        let everywhere = PerCpuValues::try_from(vec![slot; nr_cpus().unwrap()]).unwrap();
        slots.set(ifindex & 511, everywhere, 0).unwrap();
    }
    let mut config: Array<MapData, [u8; 56]> = open(old.map("CONFIG"));
    let value = ConfigMap::open(now).unwrap().get().unwrap();
    let words = [ABI, value.features & 0b1111, value.overlay_ifindex, value.tunnel_port, value.vni, 0];
    let bytes =
        [&words.map(u32::to_ne_bytes).concat()[..], &value.node_v4.octets, &value.node_v6.octets].concat();
    config.set(0, <[u8; 56]>::try_from(bytes).unwrap(), 0).unwrap();
    fill_routes(machine, old);
}

/// Read from the output of the command: this version may store them in any form.
fn fill_routes(machine: &Machine, old: &Pins) {
    let mut routes: LpmTrie<MapData, [u8; 16], [u8; 28]> = open(old.map("ROUTES"));
    let listed: Value = serde_json::from_str(&machine.ok(&["routes", "--json"])).unwrap();
    for route in listed.as_array().unwrap() {
        let (address, length) = route["prefix"].as_str().unwrap().split_once('/').unwrap();
        let Prefix { prefix_len, addr } = Prefix::new(address.parse().unwrap(), length.parse().unwrap());
        let kind = KINDS.iter().position(|kind| route["kind"] == *kind).unwrap() as u32 + 1;
        let mtu = route["mtu"].as_u64().unwrap_or_default() as u32;
        let node = route["node"]
            .as_str()
            .and_then(|node| node.parse().ok())
            .map_or(Addr::UNSPECIFIED, |node: std::net::IpAddr| node.into());
        let bytes = [&kind.to_ne_bytes()[..], &mtu.to_ne_bytes(), &node.octets, &[0; 4]].concat();
        routes.insert(&Key::new(prefix_len, addr.octets), <[u8; 28]>::try_from(bytes).unwrap(), 0).unwrap();
    }
}

/// Puts the old program behind the links of its successor, and keeps those as its own.
fn take_links(program: &mut SchedClassifier, name: &str, old: &Pins, now: &Pins) {
    for pin in files(&now.links()) {
        let file = pin.file_name().unwrap().to_str().unwrap().to_owned();
        if file.rsplit_once('_').unwrap().0 == name {
            let link =
                SchedClassifierLink::try_from(FdLink::from(PinnedLink::from_pin(&pin).unwrap())).unwrap();
            let id = program.attach_to_link(link).unwrap();
            drop(program.take_link(id).unwrap());
            fs::rename(&pin, old.links().join(file)).unwrap();
        }
    }
}

/// The same of the filters of every device.
fn take_filters(machine: &Machine, old: &Pins) {
    for device in devices(machine) {
        for (at, names) in [
            ("ingress", ["from_pod", "from_overlay", "from_underlay"]),
            ("egress", ["to_pod", "to_overlay", "to_underlay"]),
        ] {
            let shown = machine.outcome_of(&format!("tc filter show dev {device} {at} pref 5230"));
            let Some(name) = names.iter().find(|name| shown.contains(**name)) else { continue };
            let pin = old.program(name).display().to_string();
            machine.tool(&format!(
                "tc filter replace dev {device} {at} protocol all pref 5230 handle 1 \
                 bpf direct-action object-pinned {pin}"
            ));
        }
    }
}

pub fn devices(machine: &Machine) -> Vec<String> {
    let names = machine.ip("-br link show");
    names.lines().filter_map(|line| Some(line.split([' ', '@']).next()?.to_owned())).collect()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// A second machine on the other end of the first one's uplink, as `node2`.
pub fn neighbour(machine: &Machine, cluster: &str) -> Machine {
    let other = Machine::new();
    other.write_cluster(cluster);
    other.ip("link del up0");
    let namespace = other.netns();
    machine.ip(&format!("link set far0 netns {}", namespace.display()));
    machine.ip("addr add fe80::a/64 dev up0 nodad");
    for line in [
        "link set far0 name up0",
        "link set up0 addrgenmode none",
        "link set up0 up",
        "addr add 198.51.100.2/24 dev up0",
        "addr add 2001:db8::2/64 dev up0 nodad",
        // Packets that are forwarded look their next hop up from here.
        "addr add fe80::b/64 dev up0 nodad",
        "route add default via 198.51.100.254",
        "-6 route add default via 2001:db8::fe",
    ] {
        other.ip(line);
    }
    let has_carrier =
        || machine.ip("link show up0").contains("state UP") && other.ip("link show up0").contains("state UP");
    wait("the carrier", Duration::from_secs(10), has_carrier);
    run(other.naru(&["init"]).env("NARU_NODE", "node2"));
    other
}

/// The number of flows that the older version's programs recorded.
pub fn flows(machine: &Machine) -> usize {
    let map: HashMap<MapData, [u8; 40], [u8; 8]> = open(pins(machine).map("FLOWS"));
    map.keys().count()
}
