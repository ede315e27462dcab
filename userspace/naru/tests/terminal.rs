//! Kinds 26 and 13 of the field cases: names from outside reach a terminal, and outputs that take nothing.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod machine;

use std::{fs::File, time::Duration};

use machine::{Machine, pod::Pod, wait};
use serde_json::{Value, json};

/// Red, then a bell, a line that looks like the tool's own, a command of eight bits, and text turned around.
const NAME: &str = "web\x1b[31m\x07\nnaru: forged\u{9b}2J\u{202e}x";
const SHOWN: &str = "web\\u001b[31m\\u0007\\u000anaru: forged\\u009b2J\\u202ex";

/// Every command that shows something of a node.
const COMMANDS: [&[&str]; 14] = [
    &["status"],
    &["routes"],
    &["flows"],
    &["endpoints"],
    &["stats"],
    &["ipam", "list"],
    &["ipam", "show", "10.32.0.77"],
    &["ipam", "show", "10.32.0.78"],
    &["ipam", "check"],
    &["ipam", "pool", "show"],
    &["ipam", "reserve", "10.32.0.77"],
    &["ipam", "unreserve", "10.32.0.200"],
    &["init"],
    &["uninstall"],
];

/// A node with a pod of that name, a reservation for it, a note like it, and a veth whose alias and a link whose name
/// are as bad.
fn scene() -> (Machine, [Pod; 2]) {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let pods = [Pod::new(&machine, "a", json!({})), Pod::new(&machine, "b", json!({}))];
    pods[0].add_as(&machine, NAME).unwrap();
    pods[1].add_as(&machine, "web-1").unwrap();
    machine.ok(&["ipam", "reserve", "10.32.0.77", "--note", NAME]);
    machine.ok(&["ipam", "reserve", "10.32.0.78", "--pod", &format!("default/{NAME}"), "--note", "static"]);
    let endpoints = machine.ok(&["endpoints", "--json"]);
    let endpoints: Value = serde_json::from_str(&endpoints).unwrap();
    let of_b = endpoints.as_array().unwrap().iter().find(|one| one["pod"] == "default/web-1").unwrap();
    let alias = format!("naru1:{NAME}");
    let veth = of_b["interface"].as_str().unwrap();
    machine::run(machine.command("ip").args(["link", "set", veth, "alias", &alias]));
    machine::run(machine.command("ip").args(["link", "add", "d\x1b[31m", "type", "bridge"]));
    machine::run(machine.command("ip").args(["address", "add", "10.32.0.9/32", "dev", "d\x1b[31m"]));
    (machine, pods)
}

fn assert_printable(what: &[&str], text: &str) {
    for line in text.split('\n') {
        let bad = line.chars().find(|c| c.is_control() || ('\u{202a}'..='\u{202e}').contains(c));
        assert_eq!(bad, None, "{what:?}: {line:?}");
        assert!(!line.starts_with("naru: forged"), "{what:?}: {text}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn no_command_prints_a_character_that_commands_a_terminal() {
    let (machine, _pods) = scene();
    let mut shown = 0;
    for command in COMMANDS {
        let (_, said) = machine.outcome(command);
        assert_printable(command, &said);
        shown += usize::from(said.contains("\\u001b[31m"));
    }
    assert!(shown >= 6, "the names are to be seen: {shown}");
    assert!(machine.ok(&["ipam", "list"]).contains(&format!("default/{SHOWN}")));
    assert!(machine.outcome(&["status"]).1.contains("(d\\u001b[31m)"), "the interface of a clash");
    let (_, said) = machine.outcome(&["uninstall", "--force"]);
    assert_printable(&["uninstall", "--force"], &said);
    assert!(said.contains("\\u001b[31m"), "{said}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn json_has_the_names_as_they_are_and_no_such_character_either() {
    let (machine, _pods) = scene();
    let json = [
        &["endpoints"][..],
        &["stats"],
        &["ipam", "list"],
        &["ipam", "check"],
        &["status"],
        &["routes"],
        &["flows"],
    ];
    for command in json {
        let words = [command, &["--json"]].concat();
        let text = machine.outcome(&words).1;
        let text = text.split_once("\nnaru: ").map_or(text.as_str(), |(text, _)| text);
        assert_printable(&words, text);
        let value: Value =
            serde_json::from_str(text).unwrap_or_else(|why| panic!("{words:?}: {why}: {text}"));
        if command == ["endpoints"] {
            let named = format!("default/{NAME}");
            assert!(value.as_array().unwrap().iter().any(|one| one["pod"] == named.as_str()), "{text}");
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_agents_log_shows_none_of_them() {
    let (machine, _pods) = scene();
    // A store that is lost: the agent adopts what lives and says so.
    let agent = machine.agent_every(1);
    std::fs::remove_file(machine.path("run/state.db")).unwrap();
    wait("the agent to tell", Duration::from_secs(60), || {
        let log = machine.agent_log();
        log.contains("\\u001b[31m") || log.matches("pass over everything").count() > 4
    });
    for line in machine.agent_log().lines() {
        assert_printable(&["agent"], line);
    }
    drop(agent);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_command_whose_output_is_full_fails_with_a_word_and_without_a_panic() {
    let (machine, _pods) = scene();
    for command in COMMANDS.iter().filter(|command| !["init", "uninstall"].contains(&command[0])) {
        for json in [false, true] {
            let mut naru = machine.naru(command);
            if json {
                naru.arg("--json");
            }
            naru.stdout(File::options().write(true).open("/dev/full").unwrap());
            let output = naru.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.code().is_some_and(|code| code == 1 || code == 2), "{command:?}: {said}");
            assert!(!said.contains("panicked"), "{command:?}: {said}");
            // The reader is gone: quietly, as other tools.
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let output = machine.naru(command).stdout(writer).output().unwrap();
            assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{command:?}");
            let mut mute = machine.naru(command);
            mute.stderr(File::options().write(true).open("/dev/full").unwrap());
            assert_ne!(mute.output().unwrap().status.code(), Some(101), "{command:?}");
        }
    }
}
