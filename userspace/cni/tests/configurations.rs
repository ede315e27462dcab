//! Recorded configurations of runtimes, and every way in which a configuration can be wrong.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use naru_cni_types::{Code, Ipam, Network, NetworkConf, SourceCheck, Version};
use serde_json::{Value, json};

fn parse(conf: &Value) -> Result<NetworkConf, (Option<Version>, naru_cni_types::Error)> {
    NetworkConf::parse(conf.to_string().as_bytes())
}

fn minimal() -> Value {
    json!({ "cniVersion": "1.0.0", "name": "naru", "type": "naru-cni" })
}

fn with(key: &str, value: Value) -> Value {
    let mut conf = minimal();
    conf[key] = value;
    conf
}

fn own(conf: &Value) -> naru_cni_types::Addressing {
    match parse(conf).unwrap().ipam {
        Ipam::Own(addressing) => addressing,
        other => panic!("{other:?}"),
    }
}

/// Configurations that containerd and podman were recorded sending.
fn recorded() -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "naru", "type": "naru-cni",
        "capabilities": { "portMappings": true, "bandwidth": true, "io.kubernetes.cri.pod-annotations": true },
        "ipMasq": true, "mtu": 1400, "someoneElses": { "key": 1 },
        "ipam": {
            "type": "naru-ipam", "subnet": "10.22.0.0/16", "rangeStart": "10.22.0.10", "gateway": "10.22.0.1",
            "ranges": [[{ "subnet": "fd10:22::/112" }]],
            "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0", "mtu": 1400 }],
            "dataDir": "/run/host-local",
        },
        "naru": { "runDir": "/tmp/run", "antispoof": "mac", "sourceCheck": "off", "shortcut": "off" },
        "runtimeConfig": {
            "portMappings": [{ "HostPort": 18090, "ContainerPort": 80, "Protocol": "tcp", "HostIP": "" }],
            "bandwidth": { "IngressRate": 1000, "IngressBurst": 4294967295u32, "EgressRate": 0, "EgressBurst": 0 },
            "io.kubernetes.cri.pod-annotations": null,
            "IPs": ["10.22.0.77/16"],
        },
    })
}

#[test]
fn what_runtimes_send_is_understood() {
    let conf = parse(&recorded()).unwrap();
    assert_eq!((conf.network.version, conf.network.name.as_str()), (Version::V1_0_0, "naru"));
    assert_eq!((conf.mtu, conf.ip_masq), (Some(1400), Some(true)));
    assert_eq!(conf.network.naru.run_dir.as_deref(), Some("/tmp/run".as_ref()));
    assert!(conf.network.naru.check_mac && conf.network.naru.no_shortcut);
    assert_eq!(conf.network.naru.source_check, SourceCheck::Off);
    assert!(conf.runtime.limits_bandwidth);
    assert_eq!(conf.runtime.host_ports, [18090]);
    assert_eq!(conf.runtime.ips, ["10.22.0.77".parse::<std::net::IpAddr>().unwrap()]);
    let addressing = own(&recorded());
    assert_eq!(addressing.sets.len(), 2);
    assert_eq!(addressing.sets[0].ranges[0].first().to_string(), "10.22.0.10");
    assert_eq!(addressing.sets[0].ranges[0].last().to_string(), "10.22.255.255");
    assert_eq!(addressing.routes[1].mtu, Some(1400));
}

#[test]
fn lower_case_runtime_keys_are_the_same() {
    let conf =
        with("runtimeConfig", json!({ "bandwidth": { "ingressRate": 1 }, "ips": ["fd00::1"], "mac": null }));
    let conf = parse(&conf).unwrap();
    assert!(conf.runtime.limits_bandwidth);
    assert_eq!((conf.runtime.ips.len(), conf.runtime.mac), (1, None));
}

#[test]
fn ranges_dns_and_mac_of_the_runtime_go_before_the_configurations() {
    let mut conf = with("ipam", json!({ "ranges": [[{ "subnet": "10.0.0.0/24" }]] }));
    conf["dns"] = json!({ "nameservers": ["10.0.0.53"] });
    conf["args"] = json!({ "cni": { "mac": "02:00:00:00:00:01" } });
    let found = parse(&conf).unwrap();
    assert_eq!(found.runtime.mac, Some([2, 0, 0, 0, 0, 1]));
    conf["runtimeConfig"] = json!({
        "IPRanges": [[{ "subnet": "fd00::/112" }]], "MAC": "02:00:00:00:00:02",
        "DNS": { "Servers": ["10.0.0.10"], "Searches": ["a"], "Options": ["ndots:5"] },
    });
    let found = parse(&conf).unwrap();
    assert_eq!(found.runtime.mac, Some([2, 0, 0, 0, 0, 2]));
    assert_eq!(
        (found.dns.nameservers, found.dns.search),
        (vec!["10.0.0.10".to_owned()], vec!["a".to_owned()])
    );
    let subnets: Vec<String> = own(&conf).sets.iter().map(|set| set.ranges[0].subnet.to_string()).collect();
    assert_eq!(subnets, ["fd00::/112", "10.0.0.0/24"]);
    conf["runtimeConfig"] = json!({ "ipRanges": [[{ "subnet": "10.0.0.128/25" }]] });
    assert!(parse(&conf).unwrap_err().1.msg.starts_with("runtimeConfig.ipRanges: "));
}

#[test]
fn a_bare_configuration_uses_the_blocks_of_the_node() {
    let addressing = own(&minimal());
    assert!(addressing.sets.is_empty() && addressing.routes.is_empty());
    assert!(own(&with("ipam", json!({}))).sets.is_empty());
    assert!(own(&with("ipam", Value::Null)).sets.is_empty());
}

#[test]
fn no_version_means_the_first() {
    let mut conf = minimal();
    conf.as_object_mut().unwrap().remove("cniVersion");
    assert_eq!(parse(&conf).unwrap().network.version, Version::V0_1_0);
}

#[test]
fn other_ipam_plugins_are_a_choice_of_their_own() {
    let conf = parse(&with("ipam", json!({ "type": "host-local", "whatever": 1 }))).unwrap();
    assert_eq!(conf.ipam, Ipam::Delegate("host-local".into()));
}

#[test]
fn prev_result_is_read_in_the_version_of_the_configuration() {
    let mut conf = with("prevResult", json!({ "ip4": { "ip": "10.0.0.5/24" } }));
    conf["cniVersion"] = json!("0.2.0");
    assert_eq!(parse(&conf).unwrap().prev_result.unwrap().ips.len(), 1);
    conf["cniVersion"] = json!("0.4.0");
    conf["prevResult"] = json!({ "ips": [{ "version": "4", "address": "10.0.0.5/24" }] });
    assert_eq!(parse(&conf).unwrap().prev_result.unwrap().ips.len(), 1);
}

#[test]
fn valid_attachments_are_read_once_each_under_either_key() {
    let entry = |id: &str| json!({ "containerID": id, "ifname": "eth0" });
    let kept = |conf: &Value| {
        let conf = parse(conf).unwrap();
        conf.attachments_to_keep().map(|all| all.iter().map(|one| one.container.clone()).collect::<Vec<_>>())
    };
    let conf = with("cni.dev/valid-attachments", json!([entry("a"), entry("a")]));
    assert_eq!(kept(&conf).unwrap(), ["a"]);
    assert_eq!(kept(&with("cni.dev/attachments", json!([entry("b")]))).unwrap(), ["b"]);
    let mut both = conf;
    both["cni.dev/attachments"] = json!([entry("a"), entry("b")]);
    assert_eq!(kept(&both).unwrap(), ["a", "b"], "whatever either of them names is in use");
    assert_eq!(
        kept(&with("cni.dev/valid-attachments", json!([]))).unwrap(),
        [""; 0],
        "an empty list is a list"
    );
}

#[test]
fn a_missing_list_of_valid_attachments_is_no_empty_one() {
    for conf in [with("mtu", json!(1500)), with("cni.dev/valid-attachments", Value::Null)] {
        let error = parse(&conf).unwrap().attachments_to_keep().unwrap_err();
        assert_eq!(error.code, Code::InvalidConfig);
        assert!(error.msg.starts_with("cni.dev/valid-attachments: missing"), "{}", error.msg);
    }
}

/// Wrong values among those that the runtime passes.
fn wrong_of_runtime() -> Vec<(&'static str, Value, &'static str)> {
    let cases = [
        (("runtimeConfig", json!({ "ips": ["ten"] })), "runtimeConfig.ips: "),
        (("args", json!({ "cni": { "ips": ["ten"] } })), "args.cni.ips: "),
        (
            ("args", json!({ "cni": { "mac": "01:00:5e:00:00:01" } })),
            "args.cni.mac: \"01:00:5e:00:00:01\" is not a unicast",
        ),
        (
            ("runtimeConfig", json!({ "mac": "02:00" })),
            "runtimeConfig.mac: \"02:00\" is not a hardware address",
        ),
        (
            ("runtimeConfig", json!({ "dns": { "servers": "10.0.0.10" } })),
            "runtimeConfig.dns.servers: invalid type",
        ),
        (("runtimeConfig", json!({ "bandwidth": 1 })), "runtimeConfig.bandwidth: expected an object"),
        (("runtimeConfig", json!({ "ipRanges": [[{}]] })), "runtimeConfig.ipRanges[0][0].subnet: missing"),
        (("runtimeConfig", json!({ "ipRanges": [[]] })), "runtimeConfig.ipRanges[0]: empty"),
        (("naru", json!({ "ipamTimeout": 0 })), "naru.ipamTimeout: 0 is not between 1 and 600 seconds"),
    ];
    cases.into_iter().map(|((field, value), begin)| (field, value, begin)).collect()
}

/// Field, value, and the path that the message must begin with.
fn wrong() -> Vec<(&'static str, Value, &'static str)> {
    let ipam = |value: Value| ("ipam", value);
    let range = |value: Value| ("ipam", json!({ "ranges": [[value]] }));
    let cases = [
        (("name", Value::Null), "name: missing"),
        (("name", json!("../x")), "name: "),
        (("name", json!(7)), "name: invalid type"),
        (("mtu", json!("big")), "mtu: invalid type"),
        (("mtu", json!(12)), "mtu: 12"),
        (("mtu", json!(70_000)), "mtu: 70000"),
        (("ipMasq", json!("yes")), "ipMasq: "),
        (("dns", json!([])), "dns: "),
        (("naru", json!({ "rundir": "/x" })), "naru.rundir: unknown field with value \"/x\""),
        (("naru", json!({ "runDir": "x" })), "naru.runDir: "),
        (("naru", json!({ "antispoof": "max" })), "naru.antispoof: \"max\" is none of ip, mac"),
        (("naru", json!({ "sourceCheck": ["10.0.0.0/8"] })), "naru.sourceCheck: "),
        (
            ("naru", json!({ "unserved": ["ips"] })),
            "naru.unserved: \"ips\" is none of portMappings, bandwidth",
        ),
        (("naru", json!(1)), "naru: expected an object"),
        (("prevResult", json!(1)), "prevResult: "),
        (
            ("prevResult", json!({ "ips": [{ "interface": 3, "address": "10.0.0.1/24" }] })),
            "prevResult: ips: 10.0.0.1/24",
        ),
        (
            ("cni.dev/valid-attachments", json!([{ "containerID": "" }])),
            "cni.dev/valid-attachments[0].containerID: ",
        ),
        (
            ("cni.dev/valid-attachments", json!([{ "containerID": "a", "ifname": "a/b" }])),
            "cni.dev/valid-attachments[0].ifname: ",
        ),
        (ipam(json!([])), "ipam: expected an object"),
        (ipam(json!({ "type": "../host-local" })), "ipam.type: "),
        (ipam(json!({ "subnet": "10.0.0.0" })), "ipam.subnet: "),
        (ipam(json!({ "subnet": "10.0.0.7/24" })), "ipam.subnet: 10.0.0.7/24 has host bits set; 10.0.0.0/24"),
        (
            ipam(json!({ "subnet": "10.0.0.0/24", "gateway": "fd00::1" })),
            "ipam.gateway: fd00::1 is of another",
        ),
        (
            ipam(json!({ "subnet": "10.0.0.0/24", "rangeStart": "10.0.0.9", "rangeEnd": "10.0.0.8" })),
            "ipam.rangeEnd: ",
        ),
        (ipam(json!({ "type": "naru-ipam", "subnets": [] })), "ipam.subnets: unknown field"),
        (ipam(json!({ "ranges": [[]] })), "ipam.ranges[0]: empty"),
        (
            ipam(json!({ "ranges": [[{ "subnet": "10.0.0.0/24" }, { "subnet": "fd00::/64" }]] })),
            "ipam.ranges[0]: ",
        ),
        (ipam(json!({ "subnet": "10.0.0.0/8", "ranges": [[{ "subnet": "10.1.0.0/16" }]] })), "ipam.ranges: "),
        (ipam(json!({ "routes": [{ "gw": "10.0.0.1" }] })), "ipam.routes[0].dst: missing"),
        (ipam(json!({ "routes": [{ "dst": "10.0.0.0/8", "gw": "fe80::1" }] })), "ipam.routes[0].gw: "),
        (ipam(json!({ "routes": [{ "dst": "10.0.0.0/8", "metric": 1 }] })), "ipam.routes[0].metric: unknown"),
        (range(json!({})), "ipam.ranges[0][0].subnet: missing"),
        (range(json!({ "subnet": "10.0.0.0/24", "rangeEnd": "11.0.0.0" })), "ipam.ranges[0][0].rangeEnd: "),
        (range(json!({ "subnet": "10.0.0.0/24", "end": "10.0.0.9" })), "ipam.ranges[0][0].end: unknown"),
    ];
    cases.into_iter().map(|((field, value), begin)| (field, value, begin)).collect()
}

#[test]
fn every_wrong_field_is_named() {
    for (field, value, begin) in wrong().into_iter().chain(wrong_of_runtime()) {
        let (version, error) = parse(&with(field, value)).unwrap_err();
        assert!(error.msg.starts_with(begin), "{:?} does not begin with {begin:?}", error.msg);
        assert!(matches!(error.code, Code::InvalidConfig | Code::UnsupportedField), "{error:?}");
        assert_eq!(version, Some(Version::V1_0_0), "the answer carries the version");
    }
}

#[test]
fn an_unknown_version_is_code_1() {
    for version in [json!("2.0.0"), json!("1.0"), json!(1)] {
        let (known, error) = parse(&with("cniVersion", version)).unwrap_err();
        assert_eq!((known, error.code), (None, Code::IncompatibleVersion));
        assert!(error.msg.starts_with("cniVersion: "));
    }
}

#[test]
fn input_cut_anywhere_is_code_6() {
    let whole = recorded().to_string();
    for end in 0..whole.len() {
        let (_, error) = NetworkConf::parse(&whole.as_bytes()[..end]).unwrap_err();
        assert_eq!(error.code, Code::Decode, "cut at {end}");
    }
}

#[test]
fn garbage_is_code_6() {
    for bytes in [&b"\xff\xfe"[..], b"[]", b"3", b"null", b"{}{}", b"{\"name\":\"a\"}x"] {
        let (_, error) = NetworkConf::parse(bytes).unwrap_err();
        assert_eq!(error.code, Code::Decode, "{bytes:?}");
    }
}

#[test]
fn any_single_byte_may_be_wrong_without_a_panic() {
    let whole = recorded().to_string().into_bytes();
    for at in 0..whole.len() {
        for byte in [0, b'"', b'{', b'9', 0xff] {
            let mut broken = whole.clone();
            broken[at] = byte;
            let _ = NetworkConf::parse(&broken);
            let _ = Network::parse(&broken);
        }
    }
}

#[test]
fn a_del_ignores_what_it_does_not_need() {
    let broken = with("ipam", json!({ "subnet": "nonsense" }));
    assert!(parse(&broken).is_err());
    assert_eq!(Network::parse(broken.to_string().as_bytes()).unwrap().name, "naru");
}
