//! `naru-ipam` by itself: no node, no root, only a directory.

mod harness;

use std::{fs, net::IpAddr, process::Command, thread};

use harness::{addresses, ipam::Ipam};
use naru_core::ipam::{Domain, State};
use naru_store::StateStore;
use serde_json::{Value, json};

fn conf(ipam: Value) -> Value {
    let mut conf = json!({"cniVersion": "1.0.0", "name": "lan", "type": "bridge", "ipam": ipam});
    conf["ipam"]["type"] = json!("naru-ipam");
    conf
}

fn dual_stack() -> Value {
    conf(json!({
        "ranges": [[{"subnet": "10.5.0.0/24"}], [{"subnet": "fd05::/64", "gateway": "fd05::ff"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "192.0.2.0/24", "gw": "10.5.0.9"}],
        "dataDir": "/nonexistent",
    }))
}

#[test]
fn an_add_gives_one_address_of_every_set_with_prefix_gateway_and_routes() {
    let result = Ipam::new().add("c1", &dual_stack()).ok();
    assert_eq!(
        result,
        json!({
            "cniVersion": "1.0.0",
            "ips": [
                {"address": "10.5.0.2/24", "gateway": "10.5.0.1"},
                {"address": "fd05::1/64", "gateway": "fd05::ff"},
            ],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "192.0.2.0/24", "gw": "10.5.0.9"}],
            "dns": {},
        })
    );
}

#[test]
fn a_second_add_returns_the_same_addresses_and_a_del_succeeds_twice() {
    let (ipam, conf) = (Ipam::new(), dual_stack());
    let first = ipam.add("c1", &conf).ok();
    assert_eq!(ipam.add("c1", &conf).ok(), first);
    assert_ne!(ipam.add("c2", &conf).ok()["ips"], first["ips"]);
    ipam.del("c1", &conf).ok();
    ipam.del("c1", &conf).ok();
    ipam.del("never", &conf).ok();
    assert_eq!(ipam.held().len(), 2, "what c2 holds");
}

#[test]
fn every_version_is_answered_in_its_own_shape() {
    let ipam = Ipam::new();
    for (version, number) in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"].iter().zip(2..) {
        let mut conf = conf(json!({"subnet": "10.5.0.0/24"}));
        conf["cniVersion"] = json!(version);
        let result = ipam.add(&format!("c{number}"), &conf).ok();
        let address = match *version {
            "0.1.0" | "0.2.0" => &result["ip4"]["ip"],
            _ => &result["ips"][0]["address"],
        };
        assert_eq!(*address, json!(format!("10.5.0.{number}/24")), "{version}");
        let family = ["0.3.0", "0.3.1", "0.4.0"].contains(version).then_some("4");
        assert_eq!(result["ips"][0]["version"].as_str(), family, "{version}");
    }
}

#[test]
fn addresses_are_asked_for_in_three_ways() {
    let ipam = Ipam::new();
    let by_args = ipam.call_with("ADD", "c1", &dual_stack(), &[("CNI_ARGS", "IP=10.5.0.50")]).ok();
    let with = |key: &str, value: Value| {
        let mut conf = dual_stack();
        conf[key] = value;
        conf
    };
    let capability = with("runtimeConfig", json!({"ips": ["10.5.0.51", "fd05::51"]}));
    let convention = with("args", json!({"cni": {"ips": ["fd05::52"]}}));
    assert_eq!(addresses(&by_args), ["10.5.0.50", "fd05::1"]);
    assert_eq!(addresses(&ipam.add("c2", &capability).ok()), ["10.5.0.51", "fd05::51"]);
    assert_eq!(addresses(&ipam.add("c3", &convention).ok()), ["10.5.0.2", "fd05::52"]);
    let (code, msg) = ipam.add("c4", &capability).error();
    assert_eq!((code, msg.as_str()), (11, "lan/c4/eth0: address 10.5.0.51: held by lan/c2/eth0"));
    let (code, msg) = ipam.add("c4", &with("runtimeConfig", json!({"ips": ["10.5.0.1"]}))).error();
    assert_eq!((code, msg.as_str()), (7, "lan/c4/eth0: address 10.5.0.1: reserved (gateway)"));
    let (code, _) = ipam.add("c4", &with("runtimeConfig", json!({"ips": ["10.6.0.1"]}))).error();
    assert_eq!(code, 7);
}

#[test]
fn a_gateway_outside_the_subnet_is_told_as_given() {
    let outside = conf(json!({"subnet": "10.5.0.0/24", "gateway": "192.0.2.1"}));
    let result = Ipam::new().add("c1", &outside).ok();
    assert_eq!(result["ips"], json!([{"address": "10.5.0.1/24", "gateway": "192.0.2.1"}]));
    let stranger = conf(json!({"subnet": "10.5.0.0/24", "gateway": "fd00::1"}));
    let (code, msg) = Ipam::new().add("c1", &stranger).error();
    assert!(code == 7 && msg.starts_with("ipam.gateway: fd00::1 is of another family"), "{code} {msg}");
}

#[test]
fn ranges_that_the_runtime_passes_come_first() {
    let (ipam, mut conf) = (Ipam::new(), conf(json!({"subnet": "10.5.0.0/24"})));
    conf["runtimeConfig"] = json!({"ipRanges": [[{"subnet": "10.6.0.0/24"}], [{"subnet": "fd06::/64"}]]});
    let given = addresses(&ipam.add("c1", &conf).ok());
    assert_eq!(given, ["10.6.0.2", "fd06::2", "10.5.0.2"]);
    let mut without = conf.clone();
    without["ipam"].as_object_mut().unwrap().remove("subnet");
    assert_eq!(addresses(&ipam.add("c2", &without).ok()).len(), 2, "they suffice by themselves");
}

#[test]
fn check_compares_the_store_with_the_previous_result() {
    let (ipam, mut conf) = (Ipam::new(), dual_stack());
    conf["prevResult"] = ipam.add("c1", &conf).ok();
    ipam.call("CHECK", "c1", &conf).ok();
    conf["prevResult"]["ips"][1]["address"] = json!("fd05::9/64");
    assert_eq!(
        ipam.call("CHECK", "c1", &conf).error(),
        (102, "lan/c1/eth0: holds fd05::1, which prevResult does not show".to_owned())
    );
    ipam.del("c1", &conf).ok();
    let (code, msg) = ipam.call("CHECK", "c1", &conf).error();
    assert_eq!(
        (code, msg.as_str()),
        (102, "lan/c1/eth0: holds no address of pool 10.5.0.0/24 (gateway 10.5.0.1)")
    );
}

#[test]
fn gc_frees_what_is_not_listed_in_this_network_only() {
    let (ipam, mut conf) = (Ipam::new(), dual_stack());
    conf["cniVersion"] = json!("1.1.0");
    let mut other = conf.clone();
    other["name"] = json!("wan");
    for container in ["c1", "c2", "c3"] {
        ipam.add(container, &conf).ok();
        assert_eq!(addresses(&ipam.add(container, &other).ok()).len(), 2);
    }
    thread::sleep(std::time::Duration::from_millis(2));
    conf["cni.dev/valid-attachments"] = json!([{"containerID": "c2", "ifname": "eth0"}]);
    ipam.call("GC", "", &conf).ok();
    let held: Vec<String> = ipam.held().into_iter().map(|(owner, _)| owner).collect();
    let expected = ["lan/c2/eth0", "lan/c2/eth0"];
    assert_eq!(held.iter().filter(|owner| owner.starts_with("lan/")).collect::<Vec<_>>(), expected);
    assert_eq!(held.len(), 8, "the other network keeps its own: {held:?}");
}

/// A library that sets the time of day back by a day for the program that loads it.
const YESTERDAY: &str = "#include <time.h>\n#include <unistd.h>\n#include <sys/syscall.h>\n\
    int clock_gettime(clockid_t id, struct timespec *t) {\n\
    int failed = syscall(SYS_clock_gettime, id, t); if (id == CLOCK_REALTIME) t->tv_sec -= 86400; return failed; }\n";

#[test]
fn a_time_of_day_that_was_set_back_keeps_nothing_and_frees_nothing() {
    let (ipam, mut conf) = (Ipam::new(), dual_stack());
    conf["cniVersion"] = json!("1.1.0");
    let (source, library) = (ipam.directory().join("yesterday.c"), ipam.directory().join("yesterday.so"));
    fs::write(&source, YESTERDAY).unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(built.unwrap().success());
    let yesterday = [("LD_PRELOAD", library.to_str().unwrap())];
    ipam.add("c1", &conf).ok();
    ipam.call_with("ADD", "c2", &conf, &yesterday).ok();
    thread::sleep(std::time::Duration::from_millis(2));
    conf["cni.dev/valid-attachments"] = json!([{"containerID": "c2", "ifname": "eth0"}]);
    ipam.call_with("GC", "", &conf, &yesterday).ok();
    let held: Vec<String> = ipam.held().into_iter().map(|(owner, _)| owner).collect();
    assert_eq!(
        held,
        ["lan/c2/eth0", "lan/c2/eth0"],
        "c1 is older than the list, whatever the time of day says"
    );
    conf["cni.dev/valid-attachments"] = json!([]);
    ipam.call("GC", "", &conf).ok();
    assert!(ipam.held().is_empty());
    let cooling = |ipam: &Ipam| {
        let rows = StateStore::open(&ipam.store(), &ipam.boot).unwrap().rows().unwrap();
        rows.iter().filter(|row| row.state == State::Cooling).count()
    };
    assert_eq!(cooling(&ipam), 4);
    ipam.call_with("ADD", "c3", &conf, &yesterday).ok();
    assert_eq!(cooling(&ipam), 4, "and nothing cooled for a day");
}

#[test]
fn two_networks_may_share_a_subnet() {
    let (ipam, conf) = (Ipam::new(), dual_stack());
    let mut other = conf.clone();
    other["name"] = json!("wan");
    assert_eq!(ipam.add("c1", &conf).ok()["ips"], ipam.add("c1", &other).ok()["ips"]);
}

#[test]
fn status_says_when_no_add_could_be_served() {
    let ipam = Ipam::new();
    let mut conf = conf(json!({"subnet": "10.5.0.0/30"}));
    conf["cniVersion"] = json!("1.1.0");
    ipam.call("STATUS", "", &conf).ok();
    assert_eq!(addresses(&ipam.add("c1", &conf).ok()), ["10.5.0.2"]);
    let full =
        "pool 10.5.0.0/30 (gateway 10.5.0.1): no ipv4 address left: 1 assigned, 0 cooling, 3 reserved of 4";
    assert_eq!(ipam.call("STATUS", "", &conf).error(), (50, full.to_owned()));
    assert_eq!(ipam.add("c2", &conf).error(), (11, format!("lan/c2/eth0: {full}")));
    ipam.del("c1", &conf).ok();
    ipam.call("STATUS", "", &conf).ok();
    assert_eq!(addresses(&ipam.add("c2", &conf).ok()), ["10.5.0.2"], "cooling, but nothing else is left");
}

#[test]
fn another_boot_voids_what_was_held() {
    let (mut ipam, conf) = (Ipam::new(), dual_stack());
    let first = ipam.add("c1", &conf).ok();
    ipam.boot = "boot-2".to_owned();
    ipam.del("c1", &conf).ok();
    let (code, _) = ipam.call("CHECK", "c1", &conf).error();
    assert_eq!(code, 102);
    assert_eq!(ipam.add("c2", &conf).ok()["ips"], first["ips"]);
    assert_eq!(ipam.held().len(), 2);
}

#[test]
fn the_first_processes_make_the_store_together_and_share_no_address() {
    let (ipam, conf) = (Ipam::new(), dual_stack());
    let given: Vec<Vec<String>> = thread::scope(|scope| {
        let add = |number: u32| {
            let (ipam, conf) = (&ipam, &conf);
            scope.spawn(move || addresses(&ipam.add(&format!("c{number}"), conf).ok()))
        };
        let threads: Vec<_> = (0..24).map(add).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut all: Vec<IpAddr> = given.iter().flatten().map(|text| text.parse().unwrap()).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 48);
}

#[test]
fn name_servers_come_from_the_file_that_the_configuration_names() {
    let ipam = Ipam::new();
    let file = ipam.directory().join("resolv.conf");
    fs::write(&file, "nameserver 10.0.0.10\nsearch a b\noptions ndots:5\n").unwrap();
    let with = |file: &std::path::Path| conf(json!({"subnet": "10.5.0.0/24", "resolvConf": file}));
    let dns = ipam.add("c1", &with(&file)).ok()["dns"].clone();
    assert_eq!(dns, json!({"nameservers": ["10.0.0.10"], "search": ["a", "b"], "options": ["ndots:5"]}));
    let (code, msg) = ipam.add("c2", &with(&ipam.directory().join("none"))).error();
    assert!(code == 5 && msg.starts_with("ipam.resolvConf: "), "{msg}");
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let ipam = Ipam::new();
    let error = |ipam_section: Value| ipam.add("c1", &conf(ipam_section)).error();
    for (section, code, field) in [
        (json!({}), 7, "ipam.ranges: missing"),
        (json!({"subnet": "10.5.0.1/24"}), 7, "ipam.subnet: 10.5.0.1/24 has host bits set"),
        (json!({"subnet": "ten"}), 7, "ipam.subnet: \"ten\""),
        (json!({"ranges": [[{"subnet": "10.5.0.0/24"}, {"subnet": "fd00::/64"}]]}), 7, "ipam.ranges[0]: "),
        (json!({"ranges": [[{"subnet": "10.5.0.0/24"}], [{"subnet": "10.5.0.0/25"}]]}), 7, "ipam.ranges: "),
        (json!({"subnet": "10.5.0.0/24", "rangeStart": "10.6.0.1"}), 7, "ipam.rangeStart: 10.6.0.1"),
        (json!({"subnet": "10.5.0.0/24", "reserve": 1}), 2, "ipam.reserve: "),
    ] {
        let (got, msg) = error(section);
        assert!(got == code && msg.starts_with(field), "{got}: {msg}");
    }
    let mut foreign = dual_stack();
    foreign["ipam"]["type"] = json!("host-local");
    assert_eq!(ipam.add("c1", &foreign).error().0, 7);
    assert!(!ipam.directory().join("run").exists(), "a refused configuration makes nothing");
}

#[test]
fn the_store_says_whose_the_addresses_are() {
    let ipam = Ipam::new();
    let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0";
    ipam.call_with("ADD", "c1", &dual_stack(), &[("CNI_ARGS", args)]).ok();
    let store = StateStore::open(&ipam.store(), &ipam.boot).unwrap();
    let rows = store.rows().unwrap();
    let held: Vec<_> = rows.iter().filter(|row| row.state == State::Assigned).collect();
    assert!(
        held.iter().all(|row| row.domain == Domain::ipam("lan") && row.pod.to_string() == "default/web-0")
    );
    let mut notes: Vec<&str> =
        rows.iter().map(|row| row.note.as_str()).filter(|note| !note.is_empty()).collect();
    notes.sort_unstable();
    assert_eq!(notes, ["broadcast", "gateway", "gateway", "network", "subnet-router anycast"]);
}
