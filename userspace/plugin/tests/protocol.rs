//! Everything that needs neither root nor a node: versions, environment, standard input, errors.

mod harness;

use harness::{PLUGIN, call};
use serde_json::{Value, json};

const ADD: [(&str, &str); 4] = [
    ("CNI_COMMAND", "ADD"),
    ("CNI_CONTAINERID", "abc"),
    ("CNI_IFNAME", "eth0"),
    ("CNI_NETNS", "/run/netns/naru-is-not-there"),
];

#[test]
fn a_version_probe_with_dummies_is_answered() {
    let probe =
        [("CNI_COMMAND", "VERSION"), ("CNI_NETNS", "dummy"), ("CNI_IFNAME", "dummy"), ("CNI_PATH", "dummy")];
    let reply = call(PLUGIN, &probe, br#"{"cniVersion":"1.0.0"}"#).ok();
    assert_eq!(reply["cniVersion"], "1.0.0");
    assert_eq!(reply["supportedVersions"].as_array().unwrap().len(), 7);
}

#[test]
fn a_missing_variable_is_code_4() {
    for (at, (variable, _)) in ADD.iter().enumerate() {
        let mut environment = ADD.to_vec();
        environment.remove(at);
        let (code, msg) = call(PLUGIN, &environment, b"{}").error();
        assert_eq!(code, 4);
        assert_eq!(msg, format!("{variable}: missing"));
    }
}

#[test]
fn garbage_on_standard_input_is_code_6() {
    for stdin in [&b""[..], b"{", b"[]", b"\xff", b"{\"name\":\"x\"} trailing"] {
        assert_eq!(call(PLUGIN, &ADD, stdin).error().0, 6);
    }
}

#[test]
fn an_unknown_version_is_code_1() {
    let conf = json!({ "cniVersion": "9.0.0", "name": "n" }).to_string();
    assert_eq!(call(PLUGIN, &ADD, conf.as_bytes()).error().0, 1);
}

#[test]
fn an_invalid_field_is_named_and_the_answer_has_the_version_of_the_configuration() {
    let conf = json!({ "cniVersion": "0.4.0", "name": "n", "mtu": 12 }).to_string();
    let said = call(PLUGIN, &ADD, conf.as_bytes());
    let answer: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(answer["cniVersion"], "0.4.0");
    assert_eq!(answer["code"], 7);
    assert_eq!(answer["msg"], "mtu: 12 is not between 68 and 65535");
    assert_eq!(answer["details"], "cniVersion 0.4.0");
    assert!(said.stderr.contains("mtu: 12"), "the runtime's log has it too: {}", said.stderr);
}

#[test]
fn an_unknown_key_of_ours_is_code_2_and_of_others_none_of_our_business() {
    let conf = json!({ "cniVersion": "1.0.0", "name": "n", "theirs": 1, "naru": { "mtu": 1 } }).to_string();
    let (code, msg) = call(PLUGIN, &ADD, conf.as_bytes()).error();
    assert_eq!((code, msg.as_str()), (2, "naru.mtu: unknown field with value 1"));
}

#[test]
fn an_ipam_type_with_a_directory_is_refused_by_name() {
    let conf = json!({ "cniVersion": "1.0.0", "name": "n", "ipam": { "type": "../host-local" } }).to_string();
    let (code, msg) = call(PLUGIN, &ADD, conf.as_bytes()).error();
    assert_eq!((code, msg.as_str()), (7, "ipam.type: \"../host-local\" is not the name of a plugin"));
}

#[test]
fn a_command_that_the_version_does_not_have_is_code_1() {
    for (verb, version) in [("CHECK", "0.3.1"), ("GC", "1.0.0"), ("STATUS", "1.0.0")] {
        let conf = json!({ "cniVersion": version, "name": "n" }).to_string();
        let environment = [&[("CNI_COMMAND", verb)], &ADD[1..]].concat();
        let (code, msg) = call(PLUGIN, &environment, conf.as_bytes()).error();
        assert_eq!(code, 1);
        assert!(msg.contains(verb) && msg.contains(version), "{msg}");
    }
}

#[test]
fn as_naru_ipam_it_wants_ranges_and_answers_version() {
    let directory = tempfile::tempdir().unwrap();
    let name = directory.path().join("naru-ipam");
    std::os::unix::fs::symlink(PLUGIN, &name).unwrap();
    let (code, msg) = call(name.to_str().unwrap(), &ADD, br#"{"cniVersion":"1.0.0","name":"n"}"#).error();
    assert_eq!(code, 7);
    assert!(msg.starts_with("ipam.ranges: missing"), "{msg}");
    let version = [("CNI_COMMAND", "VERSION")];
    assert!(call(name.to_str().unwrap(), &version, b"{}").success);
}
