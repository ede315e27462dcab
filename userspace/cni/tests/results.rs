//! One result in each version's own shape, and back.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use naru_cni_types::{CniResult, Dns, Interface, Ip, Route, Version};
use serde_json::{Value, json};

fn result() -> CniResult {
    let host = Interface {
        name: "naru3f2a".into(),
        mac: "02:00:00:00:00:01".into(),
        mtu: Some(1450),
        ..Interface::default()
    };
    let pod = Interface {
        name: "eth0".into(),
        mac: "02:00:00:00:00:02".into(),
        mtu: Some(1450),
        sandbox: "/run/netns/x".into(),
        ..Interface::default()
    };
    let ip = |address: &str, gateway: &str| Ip {
        interface: Some(1),
        address: address.parse().unwrap(),
        gateway: Some(gateway.parse().unwrap()),
    };
    let route =
        Route { mtu: Some(1400), priority: Some(10), ..Route::new("0.0.0.0/0".parse().unwrap(), None) };
    CniResult {
        interfaces: vec![host, pod],
        ips: vec![ip("10.32.0.5/32", "169.254.1.1"), ip("fd10:32::5/128", "fe80::1")],
        routes: vec![route, Route::new("::/0".parse().unwrap(), Some("fe80::1".parse().unwrap()))],
        dns: Dns {
            nameservers: vec!["10.0.0.10".into()],
            search: vec!["cluster.local".into()],
            ..Dns::default()
        },
    }
}

fn early(version: &str) -> Value {
    json!({
        "cniVersion": version,
        "ip4": { "ip": "10.32.0.5/32", "gateway": "169.254.1.1", "routes": [{ "dst": "0.0.0.0/0" }] },
        "ip6": { "ip": "fd10:32::5/128", "gateway": "fe80::1", "routes": [{ "dst": "::/0", "gw": "fe80::1" }] },
        "dns": { "nameservers": ["10.0.0.10"], "search": ["cluster.local"] },
    })
}

fn listed(version: &str, ips: &Value) -> Value {
    json!({
        "cniVersion": version,
        "interfaces": [
            { "name": "naru3f2a", "mac": "02:00:00:00:00:01" },
            { "name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": "/run/netns/x" },
        ],
        "ips": ips,
        "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0", "gw": "fe80::1" }],
        "dns": { "nameservers": ["10.0.0.10"], "search": ["cluster.local"] },
    })
}

fn golden(version: Version) -> Value {
    let text = version.as_str();
    match version {
        Version::V0_1_0 | Version::V0_2_0 => early(text),
        Version::V0_3_0 | Version::V0_3_1 | Version::V0_4_0 => listed(
            text,
            &json!([
                { "version": "4", "interface": 1, "address": "10.32.0.5/32", "gateway": "169.254.1.1" },
                { "version": "6", "interface": 1, "address": "fd10:32::5/128", "gateway": "fe80::1" },
            ]),
        ),
        Version::V1_0_0 => listed(text, &json!(plain_ips())),
        Version::V1_1_0 => json!({
            "cniVersion": "1.1.0",
            "interfaces": [
                { "name": "naru3f2a", "mac": "02:00:00:00:00:01", "mtu": 1450 },
                { "name": "eth0", "mac": "02:00:00:00:00:02", "mtu": 1450, "sandbox": "/run/netns/x" },
            ],
            "ips": plain_ips(),
            "routes": [
                { "dst": "0.0.0.0/0", "mtu": 1400, "priority": 10 },
                { "dst": "::/0", "gw": "fe80::1" },
            ],
            "dns": { "nameservers": ["10.0.0.10"], "search": ["cluster.local"] },
        }),
    }
}

fn plain_ips() -> Value {
    json!([
        { "interface": 1, "address": "10.32.0.5/32", "gateway": "169.254.1.1" },
        { "interface": 1, "address": "fd10:32::5/128", "gateway": "fe80::1" },
    ])
}

#[test]
fn every_version_has_its_own_shape() {
    for version in Version::ALL {
        let written: Value = serde_json::from_str(&result().to_json(version).unwrap()).unwrap();
        assert_eq!(written, golden(version), "{version}");
    }
}

#[test]
fn a_result_survives_its_own_version_as_prev_result() {
    for version in Version::ALL {
        let read = CniResult::parse(version, golden(version)).unwrap();
        let written: Value = serde_json::from_str(&read.to_json(version).unwrap()).unwrap();
        assert_eq!(written, golden(version), "{version}");
    }
    assert_eq!(CniResult::parse(Version::V1_1_0, golden(Version::V1_1_0)).unwrap(), result());
}

#[test]
fn a_newer_result_converts_to_every_older_version() {
    let newest = CniResult::parse(Version::V1_1_0, golden(Version::V1_1_0)).unwrap();
    for version in Version::ALL {
        let written: Value = serde_json::from_str(&newest.to_json(version).unwrap()).unwrap();
        assert_eq!(written, golden(version), "{version}");
    }
}

#[test]
fn an_older_result_converts_to_every_newer_version() {
    let oldest = CniResult::parse(Version::V0_2_0, golden(Version::V0_2_0)).unwrap();
    for version in Version::ALL {
        let written: Value = serde_json::from_str(&oldest.to_json(version).unwrap()).unwrap();
        let ips =
            if version <= Version::V0_2_0 { &written["ip4"]["ip"] } else { &written["ips"][0]["address"] };
        assert_eq!(ips, "10.32.0.5/32", "{version}");
    }
}

#[test]
fn go_writes_absent_things_as_null_and_none_as_minus_one() {
    let value = json!({
        "cniVersion": "0.3.1", "interfaces": null, "routes": null, "dns": null, "other": [1],
        "ips": [{ "version": "4", "interface": -1, "address": "10.0.0.5/24", "gateway": "" }],
    });
    let read = CniResult::parse(Version::V0_3_1, value).unwrap();
    assert_eq!(read.ips, [Ip { interface: None, address: "10.0.0.5/24".parse().unwrap(), gateway: None }]);
}

#[test]
fn an_address_of_an_interface_that_is_not_listed_is_refused() {
    let value = json!({ "ips": [{ "interface": 0, "address": "10.0.0.5/24" }] });
    assert!(CniResult::parse(Version::V1_0_0, value).unwrap_err().contains("10.0.0.5/24"));
}

#[test]
fn a_list_in_the_place_of_an_object_is_refused_wherever_it_is() {
    for (version, wrong) in [
        (Version::V1_1_0, json!([])),
        (Version::V0_2_0, json!([])),
        (Version::V1_1_0, json!("{}")),
        (Version::V1_1_0, json!({ "interfaces": [["eth0"]] })),
        (Version::V1_1_0, json!({ "ips": [[]] })),
        (Version::V0_4_0, json!({ "routes": [["0.0.0.0/0"]] })),
        (Version::V1_1_0, json!({ "dns": [] })),
        (Version::V0_2_0, json!({ "ip4": ["10.0.0.1/24"] })),
    ] {
        assert!(CniResult::parse(version, wrong.clone()).is_err(), "{version} {wrong}");
    }
}

#[test]
fn the_first_versions_cannot_say_nothing() {
    assert!(CniResult::default().to_json(Version::V0_2_0).is_err());
    let empty = CniResult::default().to_json(Version::V1_0_0).unwrap();
    assert_eq!(empty, r#"{"cniVersion":"1.0.0","dns":{}}"#);
}

#[test]
fn a_later_plugin_appends_and_points_at_its_own_interfaces() {
    let both = result().followed_by(result());
    assert_eq!(both.interfaces.len(), 4);
    let indexes: Vec<_> = both.ips.iter().map(|ip| ip.interface.unwrap()).collect();
    assert_eq!(indexes, [1, 1, 3, 3]);
}
