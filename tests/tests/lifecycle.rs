//! Parts that die, and parts that still work: agents are killed, pins and run directories wiped, while maps and
//! counters are watched.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking, their helpers too")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use naru_e2e::{
    cni::TestPod,
    counters::{Count, Counters},
    lab::{Lab, Node},
    netns::Netns,
    probe::{
        ping::{self, Ping},
        tcp, udp,
    },
    tool,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

#[test]
#[ignore = "needs root: cargo xtask test"]
fn killed_agents_cost_no_packet_and_no_pod_start() {
    let mut lab = Lab::up("--families dual --underlay dual").unwrap();
    let host = |name: &str, v6: bool| lab.must_host(name, v6).unwrap();
    let agents: Vec<i32> = lab.nodes.iter().map(|node| node.agent_pid.expect("an agent runs")).collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let pings = [false, true].map(|v6| {
            let (from, to) = (host("p1-1", v6), host("p2-1", v6));
            let pace = Duration::from_micros(500);
            scope.spawn(move || ping::lost(&from.netns, to.address, Ping::default(), 10_000, pace).unwrap())
        });
        let (from, to) = (host("p1-2", false), host("p2-2", false));
        let done = &done;
        // Also when something below panics: the scope waits for the streams.
        let _stop = SetOnDrop(done);
        let streams = scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                tcp::stream(&from, &to, 64 << 20, 64 << 20).unwrap();
            }
        });
        thread::sleep(Duration::from_millis(300));
        // The lab has just told these numbers after comparing their start times.
        agents.iter().for_each(|pid| kill_process(Pid::from_raw(*pid).unwrap(), Signal::KILL).unwrap());
        for round in 0..50 {
            let pod =
                TestPod::add(&lab, if round % 2 == 0 { "n1" } else { "n2" }, "late", &json!({})).unwrap();
            ping::all_return(&pod.host(round % 4 < 2).unwrap(), &host("p1-1", round % 4 < 2), 56, 1).unwrap();
        }
        let lost = pings.map(|pings| pings.join().unwrap());
        done.store(true, Ordering::Relaxed);
        streams.join().unwrap();
        assert_eq!(lost, [0, 0], "of 10,000 pings");
    });
    lab.reload().unwrap();
    assert!(lab.nodes.iter().all(|node| node.agent_pid.is_none()), "an agent survived");
}

/// Raises its flag when it goes.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn wipe(node: &Node) {
    // The pins go with their file system, as after a reboot.
    rustix::mount::unmount(node.root.join("bpf"), rustix::mount::UnmountFlags::DETACH).unwrap();
    fs::remove_dir_all(node.root.join("run")).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_next_add_works_after_pins_and_run_directory_are_gone_and_the_boot_id_is_new() {
    let lab = Lab::up("--families dual --underlay dual --no-agent").unwrap();
    let mut node = lab.node("n1").unwrap().clone();
    wipe(&node);
    node.boot_id = Some("00000000-0000-4000-8000-00000000e2e1".to_owned());
    let pod = TestPod::add_to(&lab.name, node.clone(), "reborn", &json!({})).unwrap();
    let held: BTreeSet<IpAddr> = lab.pods.iter().flat_map(|pod| pod.addresses.clone()).collect();
    assert!(pod.addresses.iter().all(|address| !held.contains(address)), "{:?} is taken", pod.addresses);
    for v6 in [false, true] {
        let new = pod.host(v6).unwrap();
        for place in ["p2-1", "n1", "n2", "out"] {
            let place = lab.must_host(place, v6).unwrap();
            ping::all_return(&new, &place, 56, 2).unwrap();
            tcp::stream(&new, &place, 1 << 20, 1 << 20).unwrap();
        }
        // Pods whose veths outlived the wiping are in the maps again.
        ping::all_return(&new, &lab.must_host("p1-1", v6).unwrap(), 56, 2).unwrap();
        ping::all_return(&lab.must_host("p2-1", v6).unwrap(), &lab.must_host("p1-2", v6).unwrap(), 56, 2)
            .unwrap();
    }
    let listed = node.naru("ipam list").unwrap();
    assert!(pod.addresses.iter().all(|address| listed.contains(&address.to_string())), "{listed}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_pins_alone_may_go() {
    let lab = Lab::up("--families dual --underlay dual --no-agent").unwrap();
    let node = lab.node("n1").unwrap();
    rustix::mount::unmount(node.root.join("bpf"), rustix::mount::UnmountFlags::DETACH).unwrap();
    let pod = TestPod::add(&lab, "n1", "after", &json!({})).unwrap();
    for v6 in [false, true] {
        for place in ["p1-1", "p2-1", "out"] {
            ping::all_return(&pod.host(v6).unwrap(), &lab.must_host(place, v6).unwrap(), 56, 2).unwrap();
        }
    }
}

/// The entries of the map pinned at `path` as bpftool formats them.
fn dumped(path: &Path) -> Vec<Value> {
    let output = Command::new("bpftool").args(["-j", "map", "dump", "pinned"]).arg(path).output().unwrap();
    let text = tool::text(output).unwrap();
    let entries: Vec<Value> = serde_json::from_str(&text).unwrap();
    entries.into_iter().map(|entry| entry["formatted"].clone()).collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    let byte = |byte: &Value| {
        let number = byte.as_u64().or_else(|| {
            let text = byte.as_str()?;
            text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u64::from_str_radix(hex, 16).ok())
        });
        u8::try_from(number.unwrap()).unwrap()
    };
    value.as_array().unwrap_or_else(|| panic!("{value}: not an array of bytes")).iter().map(byte).collect()
}

fn address(octets: &Value) -> IpAddr {
    let octets: [u8; 16] = bytes(octets).try_into().unwrap();
    IpAddr::from(octets).to_canonical()
}

fn mac(octets: &Value) -> String {
    bytes(octets).iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn bpftool_shows_the_pods_with_named_fields_as_naru_endpoints_does() {
    let lab = Lab::up("--families dual --underlay dual --pods 3").unwrap();
    for node in &lab.nodes {
        let told: BTreeMap<IpAddr, Value> = node
            .naru_json("endpoints")
            .unwrap()
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| (entry["address"].as_str().unwrap().parse().unwrap(), entry.clone()))
            .collect();
        let entries = dumped(&node.pins().unwrap().join("PODS"));
        assert_eq!(entries.len(), 6);
        assert_eq!(entries.len(), told.len());
        for entry in entries {
            let (key, value) = (&entry["key"], &entry["value"]);
            let told = &told[&address(&key["octets"])];
            for field in ["ifindex", "flags", "mtu", "generation"] {
                assert_eq!(value[field], told[field], "{field} of {entry}");
            }
            assert_eq!(mac(&value["pod_mac"]), told["pod_mac"].as_str().unwrap());
            assert_eq!(mac(&value["host_mac"]), told["host_mac"].as_str().unwrap());
        }
    }
}

/// Packets and bytes that `link` of `netns` has sent, frames' headers included.
fn sent(netns: &Netns, link: &str) -> Count {
    let text = tool::run(netns, &format!("ip -s -j link show dev {link}")).unwrap();
    let links: Vec<Value> = serde_json::from_str(&text).unwrap();
    let tx = &links[0]["stats64"]["tx"];
    Count { packets: tx["packets"].as_u64().unwrap(), bytes: tx["bytes"].as_u64().unwrap() }
}

fn sum(counts: impl Iterator<Item = Count>) -> Count {
    counts.fold(Count::default(), |sum, one| Count {
        packets: sum.packets + one.packets,
        bytes: sum.bytes + one.bytes,
    })
}

fn difference(later: Count, earlier: Count) -> Count {
    Count { packets: later.packets - earlier.packets, bytes: later.bytes - earlier.bytes }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_packet_that_pods_send_has_exactly_one_outcome_and_those_between_pods_arrive() {
    let lab = Lab::up("--families dual --underlay dual --no-agent").unwrap();
    let pods: Vec<Netns> = lab.pods.iter().map(|pod| Netns::open(&pod.netns).unwrap()).collect();
    let all_sent = || sum(pods.iter().map(|pod| sent(pod, "eth0")));
    // Announcements of the start are over when nothing moves any more.
    let mut before = all_sent();
    let quiet = tool::holds_within(Duration::from_secs(30), || {
        thread::sleep(Duration::from_secs(2));
        let now = all_sent();
        std::mem::replace(&mut before, now) == now
    });
    assert!(quiet, "pods never fall silent");
    let counted = Counters::sum(&lab.nodes).unwrap();
    let before = all_sent();
    for v6 in [false, true] {
        let host = |name: &str| lab.must_host(name, v6).unwrap();
        for (from, to) in
            [("p1-1", "p1-2"), ("p1-1", "p2-1"), ("p2-2", "p1-2"), ("p1-1", "n1"), ("p1-1", "out")]
        {
            // The first fragments from outside would be spent on telling the pod's MTU.
            let sizes = if to == "out" { &[1, 100, 1000][..] } else { &[1, 100, 1000, 1400, 5000] };
            udp::echo(&host(from), &host(to), sizes).unwrap();
            ping::lost(&host(from).netns, host(to).address, Ping::default(), 500, Duration::ZERO).unwrap();
        }
        // Some that are answered by the stack and some that are dropped.
        let ttl = Ping { hops: Some(1), ..Ping::default() };
        ping::once(&host("p1-1").netns, host("p2-1").address, ttl).unwrap();
    }
    let moved = Counters::sum(&lab.nodes).unwrap().since(&counted);
    let pods_sent = difference(all_sent(), before);
    assert_eq!(moved.total("from_pod"), pods_sent, "{moved:?}");
    assert!(pods_sent.packets > 6000, "hardly any traffic: {pods_sent:?}");
    // What went into the tunnel came out of it: nothing else runs in this lab.
    assert_eq!(moved.total("to_overlay").packets, moved.total("from_overlay").packets, "{moved:?}");
}

/// The most memory of the process `pid` that was resident at any time since its start, bytes.
fn peak(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn maps_and_agent_stay_small_at_250_pods() {
    let lab = Lab::up("--families dual --underlay dual --nodes 1 --pods 250").unwrap();
    let node = lab.node("n1").unwrap();
    // The agent has looked at all of them once it has made its pass.
    thread::sleep(Duration::from_secs(2));
    let mut maps = 0;
    for entry in fs::read_dir(node.pins().unwrap()).unwrap().flatten().filter(|entry| entry.path().is_file())
    {
        let output =
            Command::new("bpftool").args(["-j", "map", "show", "pinned"]).arg(entry.path()).output().unwrap();
        let map: Value = serde_json::from_str(&tool::text(output).unwrap()).unwrap();
        let size = map["bytes_memlock"].as_u64().unwrap();
        println!("{}: {size} bytes", entry.file_name().display());
        maps += size;
    }
    let agent = peak(node.agent_pid.unwrap());
    println!("maps {maps} bytes, agent {agent} bytes at most");
    assert!(maps > 0 && maps < 10 << 20, "maps: {maps} bytes");
    assert!(agent < 20 << 20, "agent: {agent} bytes");
    let last = lab.pods.last().unwrap().name.clone();
    for v6 in [false, true] {
        ping::all_return(&lab.must_host("p1-1", v6).unwrap(), &lab.must_host(&last, v6).unwrap(), 56, 2)
            .unwrap();
    }
}
