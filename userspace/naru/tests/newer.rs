//! Every verb refuses a newer naru's state before anything is changed (kind 22 of the field cases), and others' files
//! in naru's directories stay (kind 25).

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod machine;

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use machine::{CLUSTER, Machine, pod::Pod, run};
use serde_json::{Value, json};

/// Time limit for an event that must come, also on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

const NEXT: u32 = naru_abi::ABI_VERSION + 1;

/// A state that only a newer naru leaves: its name, how it is made, and the text of the refusal.
type Newer = (&'static str, fn(&Machine), &'static str);

const STATES: [Newer; 5] = [
    ("pins", pins, "was made by a newer naru"),
    ("node.json", |machine| edit(machine, "run/node.json", "abi", NEXT), "was made by a newer naru"),
    ("format", format, "was made by a newer naru"),
    ("state.db", |machine| schema(machine, "run/state.db"), "schema 99 is newer than 1"),
    ("node.db", |machine| schema(machine, "state/node.db"), "schema 99 is newer than 2"),
];

/// Pins of the next version of the ABI, as an init makes them first.
fn pins(machine: &Machine) {
    let map = machine.path(&format!("run/bpf/abi{NEXT}/PODS"));
    fs::create_dir(map.parent().unwrap()).unwrap();
    let create =
        format!("bpftool map create {} type hash key 16 value 40 entries 10 name newer", map.display());
    machine.tool(&create);
}

/// Both files in a version to come.
fn format(machine: &Machine) {
    edit(machine, "run/node.json", "format", 99);
    edit(machine, "state/init.json", "format", 99);
}

fn edit(machine: &Machine, file: &str, key: &str, number: u32) {
    let path = machine.path(file);
    let mut content: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    content[key] = number.into();
    fs::write(path, content.to_string()).unwrap();
}

fn schema(machine: &Machine, store: &str) {
    let connection = rusqlite::Connection::open(machine.path(store)).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
}

/// The files by which a node is known, byte by byte.
fn contents(machine: &Machine) -> Vec<Option<Vec<u8>>> {
    let files =
        ["run/state.db", "run/node.json", "state/node.db", "state/init.json", "cni/conf/05-naru.conflist"];
    files.map(|file| fs::read(machine.path(file)).ok()).to_vec()
}

/// Everything of the machine, including the stores' content and all attachments.
fn picture(machine: &Machine) -> Vec<(&'static str, String)> {
    let mut all = machine.snapshot();
    let content = |file: &&str| format!("{file}: {:?}", fs::read(machine.path(file)).ok());
    let stores: Vec<String> = ["run/state.db", "state/node.db"].iter().map(content).collect();
    all.push(("stores", stores.join("\n")));
    all.push(("filters", machine.attached()));
    all
}

fn assert_same(context: &str, before: &[(&str, String)], after: &[(&str, String)]) {
    for ((what, before), (_, after)) in before.iter().zip(after) {
        let only_in = |one: &str, other: &str| -> String {
            one.lines()
                .filter(|line| !other.lines().any(|known| known == *line))
                .collect::<Vec<_>>()
                .join("\n")
        };
        let (gone, come) = (only_in(before, after), only_in(after, before));
        assert!(before == after, "{context}: {what} differ:\n- {gone}\n+ {come}");
    }
}

/// The plugin's answer to a verb: its exit status, its code and its message.
fn answer(pod: &Pod, machine: &Machine, verb: &str, keys: &Value) -> (bool, u64, String) {
    let output = pod.call_with(machine, verb, keys);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let text = answer["msg"].as_str().unwrap_or_default().to_owned();
    (output.status.success(), answer["code"].as_u64().unwrap_or_default(), text)
}

/// The commands of `naru` that change a node, as it is called.
const COMMANDS: [&[&str]; 7] = [
    &["init"],
    &["init", "--max-flows", "1024"],
    &["uninstall"],
    &["uninstall", "--force"],
    &["ipam", "reserve", "10.32.0.77", "--note", "gateway"],
    &["ipam", "pool", "add", "extra", "10.77.0.0/24"],
    &["status"],
];

#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_verb_refuses_what_a_newer_naru_left_and_changes_nothing() {
    for (state, make, words) in STATES {
        let machine = Machine::clustered();
        machine.ok(&["init"]);
        let conf = json!({"cniVersion": "1.1.0", "cni.dev/valid-attachments": []});
        let [pod, other] = ["pod", "other"].map(|name| Pod::new(&machine, name, conf.clone()));
        let added = pod.call_as(&machine, "ADD", &pod.name);
        let keys = json!({ "prevResult": serde_json::from_slice::<Value>(&added.stdout).unwrap() });
        make(&machine);
        let (before, files) = (picture(&machine), contents(&machine));
        // All of the machine is looked at after each kind of caller, its files after every single one.
        let unchanged = |what: &str| assert_same(&format!("{state}: {what}"), &before, &picture(&machine));
        let untouched = |what: &str| assert_eq!(contents(&machine), files, "{state}: {what}");
        for arguments in COMMANDS {
            let told = machine.refused(arguments);
            assert!(told.contains(words), "{state}: {arguments:?}: {told}");
            untouched(&arguments.join(" "));
        }
        unchanged("commands");
        for (verb, pod, code) in
            [("ADD", &other, 11), ("CHECK", &pod, 11), ("GC", &pod, 11), ("STATUS", &pod, 50)]
        {
            let (ended_well, told, text) = answer(pod, &machine, verb, &keys);
            assert!(!ended_well && told == code && text.contains(words), "{state}: {verb}: {told}: {text}");
            untouched(verb);
        }
        unchanged("verbs");
        let log = agent_of(&machine, &[], words).1;
        assert!(log.contains(words), "{state}: agent: {log}");
        unchanged("agent");
        // A pod that is gone cannot wait: its veth goes, and the newer version's objects stay.
        let veths = || machine.ip("-o link show").matches("naru1:").count();
        assert_eq!(veths(), 1, "{state}");
        assert!(answer(&pod, &machine, "DEL", &keys).0, "{state}");
        assert_eq!(veths(), 0, "{state}");
        assert_eq!(machine.path(&format!("run/bpf/abi{NEXT}/PODS")).exists(), state == "pins");
    }
}

/// An agent until it ends, or says the words; its exit status, if it ended, and its log.
fn agent_of(machine: &Machine, arguments: &[&str], words: &str) -> (Option<i32>, String) {
    let path = std::env::temp_dir().join(format!("{}.log", machine.netns().file_name().unwrap().display()));
    let file = fs::File::create(&path).unwrap();
    let mut child = machine.naru(&["agent"]).args(arguments).stderr(file).spawn().unwrap();
    let log = || fs::read_to_string(&path).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut ended = None;
    while ended.is_none() && !log().contains(words) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
        ended = child.try_wait().unwrap();
    }
    // A process that refuses still obeys when it is told to end.
    let _ = child.kill();
    child.wait().unwrap();
    let log = log();
    fs::remove_file(path).unwrap();
    (ended.and_then(|status| status.code()), log)
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_second_agent_is_refused_before_it_changes_anything_and_ends() {
    let machine = Machine::clustered();
    let first = machine.agent();
    let other = machine.path("other.toml");
    fs::write(&other, CLUSTER.replace("10.32.", "10.64.").replace("fd10:32:", "fd10:64:")).unwrap();
    let before = picture(&machine);
    let (status, log) = agent_of(&machine, &["--cluster", other.to_str().unwrap()], "\0");
    assert_eq!(status, Some(1), "{log}");
    assert!(log.contains(&format!("(pid {}); stop it first", first.pid())), "{log}");
    let own_log = |all: &[(&'static str, String)]| -> Vec<(&'static str, String)> {
        all.iter().filter(|(what, _)| *what != "files").cloned().collect()
    };
    assert_same("second agent", &own_log(&before), &own_log(&picture(&machine)));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn uninstall_leaves_files_of_others_in_directories_that_are_shared() {
    let machine = Machine::clustered();
    for directory in ["run/bpf", "state"] {
        fs::create_dir_all(machine.path(directory)).unwrap();
    }
    run(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(machine.path("run/bpf")));
    let theirs =
        ["run/locksmith", "run/state.db.bak", "run/node.json.orig", "state/node.db.copy", "state/init.json~"];
    for file in theirs {
        fs::write(machine.path(file), "theirs").unwrap();
    }
    let directories = ["run/bpf/abi", "run/bpf/abi3x", "run/bpf/abi03", "run/bpf/abilities", "run/bpf/abi2"];
    for directory in directories {
        fs::create_dir_all(machine.path(directory).join("theirs")).unwrap();
    }
    machine.ok(&["init"]);
    machine.ok(&["uninstall"]);
    let gone = |path: &str| !Path::new(&machine.path(path)).exists();
    let lost: Vec<&str> = theirs.into_iter().chain(directories).filter(|path| gone(path)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert!(gone("run/state.db") && gone("run/lock") && gone("state/node.db") && !machine.pins().exists());
}
