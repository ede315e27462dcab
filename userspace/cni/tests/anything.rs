//! Any input of a caller: there is never a panic, and always an error object with a code.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use naru_cni_types::{
    Call, Error, Network, NetworkConf, PodArgs, Version, delegate_error, delegate_result, version_reply,
};
use proptest::prelude::*;
use serde_json::{Map, Number, Value, json};

/// Checks that the error is an error object as the runtime expects it.
fn is_error_object(error: &Error, version: Option<Version>) {
    let object: Value = serde_json::from_str(&error.to_json(version)).unwrap();
    assert!(object["code"].as_u64().is_some_and(|code| code > 0), "{object}");
    assert!(!object["msg"].as_str().unwrap().is_empty(), "{object}");
    assert!(object["cniVersion"].is_string(), "{object}");
}

/// Passes `bytes` to everything that reads standard input.
fn read(bytes: &[u8]) {
    for error in [NetworkConf::parse(bytes).err(), Network::parse(bytes).err()].into_iter().flatten() {
        is_error_object(&error.1, error.0);
    }
    if let Ok(conf) = NetworkConf::parse(bytes) {
        assert!(Network::parse(bytes).is_ok(), "what ADD takes, DEL takes");
        let results =
            conf.prev_result.iter().flat_map(|result| Version::ALL.map(|version| result.to_json(version)));
        results.flatten().for_each(|text| drop(serde_json::from_str::<Value>(&text).unwrap()));
    }
    let reply: Value = serde_json::from_str(&version_reply(bytes)).unwrap();
    assert_eq!(reply["supportedVersions"].as_array().unwrap().len(), Version::ALL.len());
    is_error_object(&delegate_error("x", bytes, "exit status: 1"), None);
    if let Err(error) = delegate_result("x", Version::V1_0_0, bytes) {
        is_error_object(&error, None);
    }
}

/// Keys that have a meaning somewhere, so that random objects reach every reader.
const KEYS: &[&str] = &[
    "cniVersion",
    "name",
    "type",
    "mtu",
    "ipMasq",
    "ipam",
    "dns",
    "naru",
    "runtimeConfig",
    "args",
    "cni",
    "prevResult",
    "cni.dev/valid-attachments",
    "ranges",
    "subnet",
    "rangeStart",
    "rangeEnd",
    "gateway",
    "routes",
    "dst",
    "gw",
    "scope",
    "resolvConf",
    "dataDir",
    "ips",
    "mac",
    "ipRanges",
    "bandwidth",
    "ingressRate",
    "ip4",
    "ip6",
    "ip",
    "address",
    "interfaces",
    "interface",
    "containerID",
    "ifname",
    "nameservers",
    "servers",
    "runDir",
    "ipamTimeout",
    "code",
    "msg",
    "supportedVersions",
    "x",
];
const WORDS: &[&str] = &[
    "",
    "0.2.0",
    "0.4.0",
    "1.0.0",
    "1.1.0",
    "n",
    "naru-ipam",
    "host-local",
    "10.0.0.0/8",
    "10.0.0.5/24",
    "10.0.0.5",
    "fd00::/64",
    "fd00::5",
    "0.0.0.0/0",
    "255.255.255.255",
    "ffff::/0",
    "/tmp",
    "02:00:00:00:00:01",
    "eth0",
    "off",
    "strict",
    "\u{0}",
    "ä",
];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        prop_oneof![any::<i64>().prop_map(Number::from), any::<u64>().prop_map(Number::from)]
            .prop_map(Value::Number),
        any::<f64>().prop_map(|number| json!(number)),
        prop::sample::select(WORDS).prop_map(|word| json!(word)),
        ".{0,12}".prop_map(Value::String),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((prop::sample::select(KEYS), inner), 0..6).prop_map(object),
        ]
    })
}

fn object(pairs: Vec<(&str, Value)>) -> Value {
    Value::Object(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>())
}

const COMMANDS: [&str; 6] = ["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"];

/// A configuration such as a runtime sends.
fn whole() -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "n", "type": "naru-cni", "mtu": 1450, "ipMasq": true,
        "ipam": {
            "ranges": [[{ "subnet": "10.0.0.0/24", "rangeStart": "10.0.0.9" }]], "routes": [{ "dst": "0.0.0.0/0" }],
        },
        "dns": { "nameservers": ["10.0.0.53"] }, "naru": { "antispoof": "mac", "ipamTimeout": 5 },
        "runtimeConfig": { "ips": ["10.0.0.9"], "mac": "02:00:00:00:00:01", "bandwidth": { "IngressRate": 1 } },
        "args": { "cni": { "ips": ["10.0.0.9/24"] } },
        "prevResult": { "cniVersion": "1.0.0", "interfaces": [{ "name": "eth0" }],
            "ips": [{ "address": "10.0.0.9/24", "interface": 0 }], "routes": [{ "dst": "::/0" }] },
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_a_configuration_or_an_error_object(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read(&bytes);
    }

    #[test]
    fn any_json_is_a_configuration_or_an_error_object(value in value()) {
        read(value.to_string().as_bytes());
    }

    #[test]
    fn any_value_in_any_field_of_a_whole_configuration_is_taken_or_told(
        key in prop::sample::select(KEYS), value in value(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut conf = whole();
        conf[key] = value;
        let mut bytes = conf.to_string().into_bytes();
        read(&bytes);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        read(&bytes);
        read(&bytes[..at]);
    }

    #[test]
    fn any_variables_are_a_call_or_code_4(
        command in prop_oneof![prop::sample::select(&COMMANDS[..]).prop_map(str::to_owned), ".{0,8}"],
        container in ".{0,20}", ifname in ".{0,18}", netns in ".{0,20}",
        args in prop_oneof![".{0,60}", "((IP|MAC|K8S_POD_NAME|IgnoreUnknown|X)=?[0-9a-f.:;/,-]{0,20};?){0,4}"],
    ) {
        let variable = |name: &str| Some(match name {
            "CNI_COMMAND" => command.as_str(),
            "CNI_CONTAINERID" => container.as_str(),
            "CNI_IFNAME" => ifname.as_str(),
            "CNI_NETNS" => netns.as_str(),
            "CNI_ARGS" => args.as_str(),
            _ => return None,
        }.into());
        if let Err(error) = Call::from_environment(variable) {
            prop_assert_eq!(error.code.number(), 4);
            is_error_object(&error, None);
        }
        if let Err(error) = PodArgs::parse(&args) {
            prop_assert!(error.msg.starts_with("CNI_ARGS: "));
        }
    }
}
