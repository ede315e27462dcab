//! The programs in their chains: exactly one of ours, whatever others detach or add, and all programs of others
//! untouched.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod machine;

use std::{collections::BTreeSet, process::Command, thread, time::Duration};

use aya::programs::{LinkOrder, SchedClassifier, TcAttachType, tc::TcAttachOptions};
use machine::{Agent, CLUSTER, Machine, pod::Pod, run, wait};
use naru_abi::{FILTER_HANDLE, FILTER_PRIORITY};
use naru_bpf::{Pins, ProgramChain, Side, chains, detach, has_tcx, pod_filters};
use naru_sandbox::netns;
use serde_json::json;

/// Time within which a change must be repaired.
const SECOND: Duration = Duration::from_secs(1);
/// Time that a test waits for things that must come at all, also on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node whose uplink has programs, attached in that mode, and its agent, which looks at everything at its start only.
fn followed_node(mode: &str) -> (Machine, Agent) {
    let machine = Machine::new();
    machine.write_cluster(&CLUSTER.replace("routing = \"tunnel\"\n", ""));
    // An agent that makes the tunnel device itself wakes itself once more.
    machine.ok(&["init", "--attach", mode]);
    let agent = machine.agent();
    (machine, agent)
}

fn inside<T: Send>(machine: &Machine, work: impl FnOnce() -> T + Send) -> T {
    let name = machine.netns().file_name().unwrap().to_string_lossy().into_owned();
    netns::inside(&name, || Ok(work())).unwrap()
}

fn both(machine: &Machine, device: &str) -> [ProgramChain; 2] {
    inside(machine, || chains(device).unwrap())
}

/// The number of naru's programs on the device, ingress and egress.
fn ours(machine: &Machine, device: &str) -> [usize; 2] {
    both(machine, device).map(|chain| chain.ours())
}

/// Host veths of pods.
fn veths(machine: &Machine) -> BTreeSet<String> {
    let links = machine.ip("-o link show type veth");
    let names = links.lines().filter_map(|line| line.split([' ', '@']).find(|word| word.starts_with("naru")));
    names.map(str::to_owned).collect()
}

/// Attaches a pod; the name of its host veth.
fn attach(machine: &Machine, pod: &Pod) -> String {
    let before = veths(machine);
    pod.add(machine);
    veths(machine).difference(&before).next().unwrap().clone()
}

/// The fastest of a few rounds: other work of the machine slows the others down.
fn followed(what: &str, mut round: impl FnMut() -> Duration) {
    let fastest = (0..4).map(|_| round()).min().unwrap();
    assert!(fastest < SECOND, "{what}: {fastest:?}");
}

fn back(machine: &Machine, device: &str) -> Duration {
    wait("the programs", PATIENCE, || ours(machine, device) == [1, 1])
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn filters_that_somebody_takes_off_a_pod_are_back_within_a_second() {
    let (machine, _agent) = followed_node("auto");
    let pod = Pod::new(&machine, "a", json!({}));
    let veth = attach(&machine, &pod);
    for change in ["qdisc del dev VETH clsact", "filter del dev VETH ingress", "filter del dev VETH egress"] {
        followed(change, || {
            machine.tool(&format!("tc {}", change.replace("VETH", &veth)));
            back(&machine, &veth)
        });
    }
    assert!(pod.can_ping("198.51.100.1"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_filter_that_somebody_puts_in_the_place_of_ours_is_replaced_within_a_second() {
    let (machine, _agent) = followed_node("auto");
    let pod = Pod::new(&machine, "a", json!({}));
    let veth = attach(&machine, &pod);
    let pins = Pins::at(machine.pins());
    let is_ours = || inside(&machine, || pod_filters(&pins, &veth).unwrap()).is_complete();
    let times = || machine.agent_log().matches("programs attached again").count();
    let program = pins.program("to_underlay").display().to_string();
    for way in ["ingress", "egress"] {
        let place = format!("dev {veth} {way} prio {FILTER_PRIORITY} handle {FILTER_HANDLE}");
        for other in [["bytecode", "1,6 0 0 2"], ["pinned", &program]] {
            followed(&format!("{other:?} at {way}"), || {
                let before = times();
                let mut replace = machine.command("tc");
                replace.args(["filter", "replace"]).args(place.split(' '));
                run(replace.args(["protocol", "all", "bpf", "da"]).args(other));
                wait("our filter", PATIENCE, || times() > before && is_ours())
            });
        }
    }
    assert!(pod.can_ping("198.51.100.1"));
    let (before, other) = (times(), Pod::new(&machine, "b", json!({})));
    attach(&machine, &other);
    thread::sleep(SECOND);
    assert_eq!(times(), before, "a pod that is attached is no news");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_second_program_of_ours_by_tcx_on_a_pod_goes_within_a_second() {
    let (machine, _agent) = followed_node("auto");
    let pin = Pins::at(machine.pins()).program("to_underlay");
    let second = |veth: &str| {
        let mut program = SchedClassifier::from_pin(&pin).unwrap();
        let first = TcAttachOptions::TcxOrder(LinkOrder::first());
        program.attach_with_options(veth, TcAttachType::Ingress, first).map(|_| program)
    };
    for (name, keys) in [("a", json!({})), ("b", json!({"naru": {"shortcut": "off"}}))] {
        let pod = Pod::new(&machine, name, keys);
        let veth = attach(&machine, &pod);
        if inside(&machine, || has_tcx(&veth)) {
            followed(&veth, || {
                let _program = inside(&machine, || second(&veth)).unwrap();
                back(&machine, &veth)
            });
        } else {
            assert!(inside(&machine, || second(&veth)).is_err(), "there is none by tcx");
        }
        assert!(pod.can_ping("198.51.100.1"));
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn programs_by_tcx_that_somebody_takes_off_a_pod_are_back_within_a_second() {
    let (machine, _agent) = followed_node("auto");
    let pods = ["a", "b"].map(|name| Pod::new(&machine, name, json!({"naru": {"shortcut": "off"}})));
    let [veth, other] = pods.each_ref().map(|pod| attach(&machine, pod));
    let is_by_tcx = inside(&machine, || has_tcx(&veth));
    followed("the pod's programs", || {
        inside(&machine, || detach(&Pins::at(machine.pins()), Side::Underlay, &veth).unwrap());
        back(&machine, &veth)
    });
    assert_eq!(ours(&machine, &other), [1, 1]);
    let shown = machine.tool(&format!("tc filter show dev {veth} ingress"));
    assert_eq!(shown.contains("from_pod"), !is_by_tcx, "attached as before: {shown}");
    assert!(pods[0].can_ping("198.51.100.1"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_second_program_of_ours_goes_within_a_second_and_those_of_others_stay() {
    for mode in ["tcx", "clsact"] {
        let (machine, _agent) = followed_node(mode);
        let pod = Pod::new(&machine, "a", json!({}));
        let veth = attach(&machine, &pod);
        for device in ["up0", "naru-vx", &veth] {
            machine.outcome_of(&format!("tc qdisc add dev {device} clsact"));
            let mut foreign = machine.command("tc");
            foreign.args(["filter", "add", "dev", device, "ingress", "prio", "9"]);
            run(foreign.args(["protocol", "all", "bpf", "da", "bytecode", "1,6 0 0 4294967295"]));
            let program = machine.pins().join("programs/from_pod");
            followed(&format!("a second one on {device} beside {mode}"), || {
                let mut second = machine.command("tc");
                second.args(["filter", "add", "dev", device, "ingress", "prio", "7"]);
                run(second.args(["bpf", "da", "pinned"]).arg(&program));
                back(&machine, device)
            });
            let [ingress, _] = both(&machine, device);
            let names: Vec<&str> = ingress.members.iter().map(|member| member.name.as_str()).collect();
            assert!(names.contains(&"bpf priority 9") && names.len() == 2, "{device}: {names:?}");
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_interface_that_a_plugin_is_at_work_on_is_left_to_it() {
    let (machine, _agent) = followed_node("auto");
    let pods = ["a", "b", "c"].map(|name| Pod::new(&machine, name, json!({})));
    let [going, coming, standing] = pods.each_ref().map(|pod| attach(&machine, pod));
    // As a DEL begins, and as an ADD has not ended.
    let index = index_of(&machine, &going);
    let map = machine.pins().join("INTERFACES");
    let key: Vec<String> = index.to_ne_bytes().iter().map(ToString::to_string).collect();
    run(Command::new("bpftool").args(["map", "delete", "pinned"]).arg(map).arg("key").args(key));
    let store = rusqlite::Connection::open(machine.path("run/state.db")).unwrap();
    let change = "UPDATE addresses SET confirmed = 0 WHERE ifindex = ?";
    assert_eq!(store.execute(change, [index_of(&machine, &coming)]).unwrap(), 2);
    for veth in [&going, &coming, &standing] {
        machine.tool(&format!("tc qdisc del dev {veth} clsact"));
    }
    back(&machine, &standing);
    thread::sleep(SECOND);
    assert_eq!([ours(&machine, &going), ours(&machine, &coming)], [[0, 0]; 2]);
    assert!(!machine.agent_log().contains("ERROR"), "{}", machine.agent_log());
}

fn index_of(machine: &Machine, device: &str) -> u32 {
    machine.ip(&format!("-o link show {device}")).split(':').next().unwrap().parse().unwrap()
}
