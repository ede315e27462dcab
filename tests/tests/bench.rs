//! `naru bench` in its smallest form: every cell carries traffic, and nothing stays.

#![cfg(test)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, id},
    time::Duration,
};

use naru_e2e::{dist, tool};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A place of its own for a bench, so that one beside the tests is not disturbed.
fn site(name: &str) -> String {
    format!("b{}{name}", id())
}

fn bench(site: &str, options: &str) -> Command {
    let mut command = Command::new(dist::binary("naru").unwrap());
    command.args(["bench", "--no-gates", "--rounds", "1", "--site", site]);
    command.args(options.split_ascii_whitespace());
    command
}

fn succeed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Namespaces, mounts and files of the site.
fn left(site: &str) -> Vec<String> {
    let names = |directory: &str| -> Vec<String> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path().display().to_string()).filter(|path| path.contains(site)).collect()
    };
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts: Vec<_> = mounts.lines().filter(|line| line.contains(site)).map(str::to_owned).collect();
    [names("/run/netns"), names("/run/naru-bench"), mounts].concat()
}

fn figure<'a>(run: &'a Value, group: &str, name: &str) -> &'a Value {
    let figures = run["figures"].as_array().unwrap();
    let found = figures.iter().find(|figure| figure["group"] == group && figure["name"] == name);
    found.unwrap_or_else(|| panic!("no figure {name}"))
}

/// Asserts that the figure was measured. How large it is says more of the machine's load than of naru: that is for
/// gates.
fn must_be_measured(run: &Value, group: &str, name: &str) {
    let median = figure(run, group, name)["spread"]["median"].as_f64().unwrap();
    assert!(median.is_finite() && median > 0.0, "{name}: {median}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_cell_carries_traffic_and_nothing_stays() {
    let site = site("t");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("run.json");
    let options = format!(
        "--only traffic --cell 50 --json {} --svg {}",
        file.display(),
        directory.path().join("charts").display()
    );
    let table = succeed(&bench(&site, &options).output().unwrap());
    assert_eq!(left(&site), Vec::<String>::new());
    let run: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    for lane in [
        "veth",
        "bridge+nf",
        "flannel",
        "flannel+nf",
        "host-gw",
        "naru, same node",
        "naru, device",
        "naru, own encapsulation",
        "naru, direct",
    ] {
        for load in ["TCP_RR", "UDP_RR", "TCP_CRR", "stream"] {
            must_be_measured(&run, "traffic", &format!("{lane}: {load}"));
        }
    }
    for wire in ["flannel, wire", "naru, device, wire", "naru, own encapsulation, wire without GRO"] {
        must_be_measured(&run, "traffic", &format!("{wire}: stream"));
    }
    for ratio in [
        "naru, same node / veth: TCP_RR",
        "naru, same node, IPv6 / veth, IPv6: TCP_RR",
        "naru, own encapsulation, IPv6 / flannel, IPv6: TCP_RR",
        "naru, direct, IPv6 / host-gw, IPv6: TCP_RR",
    ] {
        must_be_measured(&run, "traffic", ratio);
    }
    let cpus = std::thread::available_parallelism().unwrap().get();
    for load in ["stream on two CPUs", "packets on two CPUs"].into_iter().filter(|_| cpus > 1) {
        for pair in ["naru, same node / veth", "naru, own encapsulation / flannel", "naru, direct / host-gw"]
        {
            let name = format!("{pair}: {load}");
            must_be_measured(&run, "traffic", &name);
            let figure = figure(&run, "traffic", &name);
            assert!(figure["limit"].is_null(), "too noisy for a gate: {figure}");
        }
    }
    assert!(table.contains("\n  naru, same node / veth  "), "{table}");
    // A saved run is reported and drawn as when it was measured.
    let charts = directory.path().join("again");
    let again = format!("--saved {} --svg {}", file.display(), charts.display());
    assert_eq!(succeed(&bench(&site, &again).output().unwrap()), table);
    for place in ["charts", "again"] {
        let chart = fs::read_to_string(directory.path().join(place).join("ratios.svg")).unwrap();
        assert!(chart.starts_with("<svg ") && chart.ends_with("</svg>\n"), "{place}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn plugins_programs_and_memory_have_figures_and_a_saved_run_is_compared() {
    let site = site("p");
    let directory = tempfile::tempdir().unwrap();
    let file: PathBuf = directory.path().join("run.json");
    let groups = "--short --only programs --only cni --only ipam";
    succeed(&bench(&site, &format!("{groups} --json {}", file.display())).output().unwrap());
    let run: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    for (group, name) in [
        ("programs", "from_pod to a pod, 60000 pods"),
        ("programs", "from_pod to the uplink, 10000 prefixes"),
        ("programs", "from_underlay to a pod, 10000 prefixes"),
        ("programs", "from_pod: instructions"),
        ("cni", "naru: ADD"),
        ("cni", "bridge + host-local: ADD, 16 at once, p99"),
        ("ipam", "naru-ipam / host-local, 10000 in use"),
    ] {
        must_be_measured(&run, group, name);
    }
    for path in ["from_pod encapsulating", "from_underlay decapsulating"] {
        if naru_bpf::can_encapsulate() {
            must_be_measured(&run, "programs", &format!("{path}, 10000 prefixes"));
        }
    }
    let again = format!("--short --only memory --against {}", file.display());
    let table = succeed(&bench(&site, &again).output().unwrap());
    assert!(table.contains("agent, resident") && table.contains("compared with the saved run"), "{table}");
    assert_eq!(left(&site), Vec::<String>::new());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_interrupted_bench_cleans_up_and_a_killed_one_is_cleaned_up_after() {
    let site = site("k");
    for signal in [Signal::INT, Signal::KILL] {
        let mut child = bench(&site, "--only traffic --cell 60000").spawn().unwrap();
        let netns = Path::new("/run/netns").join(format!("{site}-device-c"));
        assert!(tool::holds_within(Duration::from_secs(60), || netns.exists()));
        kill_process(Pid::from_child(&child), signal).unwrap();
        if signal == Signal::KILL {
            child.wait().unwrap();
            assert_ne!(left(&site), Vec::<String>::new());
        } else {
            assert!(!child.wait().unwrap().success());
            assert_eq!(left(&site), Vec::<String>::new());
        }
    }
    succeed(&bench(&site, "--only ipam --short").output().unwrap());
    assert_eq!(left(&site), Vec::<String>::new());
}
