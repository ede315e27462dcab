//! Labs come up quickly, and leave nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking, their helpers too")]

use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use naru_e2e::{
    lab::{Lab, command, fresh_name},
    tool,
};

/// The parts of this machine that a lab of the name `lab` may have touched.
#[derive(PartialEq, Eq, Debug)]
struct Snapshot {
    links: BTreeSet<String>,
    rules: String,
    forwarding: String,
    namespaces: Vec<String>,
    mounts: Vec<String>,
    directory: bool,
    processes: Vec<String>,
}

fn names(directory: &str, part: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.contains(part))
        .collect()
}

fn print(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    tool::text(output).unwrap()
}

fn processes(lab: &str) -> Vec<String> {
    let about = |pid: &String| {
        let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let text = [read("environ"), read("cmdline")].concat();
        String::from_utf8_lossy(&text)
            .contains(lab)
            .then(|| String::from_utf8_lossy(&read("cmdline")).into_owned())
    };
    let own = std::process::id().to_string();
    let pids = names("/proc", "").into_iter().filter(|name| name.parse::<u32>().is_ok() && *name != own);
    pids.collect::<Vec<_>>().iter().filter_map(about).collect()
}

impl Snapshot {
    fn take(lab: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        Self {
            // Tests beside this one make no links here either.
            links: names("/sys/class/net", "").into_iter().collect(),
            rules: print("nft", &["list", "ruleset"]),
            forwarding: fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(),
            namespaces: names("/run/netns", &format!("{lab}-")),
            mounts: mounts.lines().filter(|line| line.contains(lab)).map(str::to_owned).collect(),
            directory: fs::exists(format!("/run/naru-lab/{lab}")).unwrap(),
            processes: processes(lab),
        }
    }
}

/// Identifiers of the maps pinned by the nodes of `lab`.
fn maps(lab: &Lab) -> Vec<u64> {
    let pins = lab.nodes.iter().map(|node| node.pins().unwrap());
    let files =
        pins.flat_map(|pins| fs::read_dir(pins).unwrap().flatten()).filter(|entry| entry.path().is_file());
    let id = |entry: fs::DirEntry| {
        let path = entry.path().display().to_string();
        let map: serde_json::Value =
            serde_json::from_str(&print("bpftool", &["-j", "map", "show", "pinned", &path])).unwrap();
        map["id"].as_u64().unwrap()
    };
    files.map(id).collect()
}

fn map_exists(id: u64) -> bool {
    let mut command = Command::new("bpftool");
    command.args(["map", "show", "id", &id.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().unwrap().success()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn three_nodes_and_fifteen_pods_come_up_and_are_gone_without_a_trace() {
    // The name is not known before; the snapshot holds what has no name in it.
    let before = Snapshot::take("no-lab-has-this-name");
    let lab = Lab::up("--nodes 3 --pods 5").unwrap();
    let name = lab.name.clone();
    assert_eq!((lab.nodes.len(), lab.pods.len()), (3, 15));
    assert!(lab.complete && lab.pods.iter().all(|pod| pod.addresses.len() == 2));
    println!("up took {:?}", lab.took);
    let during = Snapshot::take(&name);
    assert_eq!((during.namespaces.len(), during.directory), (20, true), "{during:?}");
    assert!(during.processes.len() >= 3 && !during.mounts.is_empty(), "{during:?}");
    let maps = maps(&lab);
    assert!(maps.len() >= 15);
    drop(lab);
    assert_eq!(Snapshot::take(&name), before);
    let freed = tool::holds_within(Duration::from_secs(20), || !maps.iter().any(|id| map_exists(*id)));
    assert!(freed, "the kernel still holds the lab's maps");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn nothing_is_left_of_a_lab_whose_up_was_killed() {
    for delay in [5, 30, 80, 150, 250, 400, 600, 900] {
        let name = fresh_name();
        let before = Snapshot::take(&name);
        let mut up = command("up", &name).unwrap();
        let mut up = up.args(["--nodes", "3", "--pods", "5"]).stdout(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(delay));
        up.kill().unwrap();
        up.wait().unwrap();
        tool::text(command("down", &name).unwrap().output().unwrap()).unwrap();
        assert_eq!(Snapshot::take(&name), before, "killed after {delay} ms");
        // And the name can be used again at once.
        if delay == 250 {
            tool::text(command("up", &name).unwrap().output().unwrap()).unwrap();
            tool::text(command("down", &name).unwrap().output().unwrap()).unwrap();
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_second_up_of_the_same_name_is_refused_and_harms_nothing() {
    let lab = Lab::up("--pods 1").unwrap();
    let output = command("up", &lab.name).unwrap().output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("is up already"), "{output:?}");
    let (from, to) = (lab.must_host("p1-1", false).unwrap(), lab.must_host("p2-1", false).unwrap());
    naru_e2e::probe::ping::all_return(&from, &to, 56, 1).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn down_of_a_lab_that_is_not_there_succeeds_and_status_says_so() {
    let name = fresh_name();
    assert!(command("down", &name).unwrap().status().unwrap().success());
    let output = command("status", &name).unwrap().output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("not up"), "{output:?}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn exec_runs_in_the_place_it_is_told_and_passes_the_status_on() {
    let lab = Lab::up("--pods 1").unwrap();
    let exec = |place: &str, line: &[&str]| {
        command("exec", &lab.name).unwrap().arg(place).arg("--").args(line).output().unwrap()
    };
    let shown = exec("p1-1", &["ip", "-br", "address"]);
    let address = lab.pod("p1-1").unwrap().addresses[0].to_string();
    assert!(String::from_utf8_lossy(&shown.stdout).contains(&address), "{shown:?}");
    // A node's pins are in sight, and its commands know their directories.
    let naru = naru_e2e::dist::binary("naru").unwrap();
    let status = exec("n2", &[naru.to_str().unwrap(), "status"]);
    assert!(String::from_utf8_lossy(&status.stdout).contains("n2"), "{status:?}");
    assert_eq!(exec("out", &["sh", "-c", "exit 7"]).status.code(), Some(7));
    assert!(!exec("p9-9", &["true"]).status.success());
}
