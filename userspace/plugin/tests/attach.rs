//! ADD, CHECK and DEL on a node in a namespace, with real interfaces and packets.

mod harness;

use std::{collections::BTreeSet, thread, time::Duration};

use harness::{NODE, Netns, Node, addresses};
use serde_json::{Value, json};

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_add_gives_addresses_routes_and_a_working_path() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    let result = node.add("abc", &pod).ok();
    assert_eq!(result["cniVersion"], "1.0.0");
    assert_eq!(result["interfaces"][1]["name"], "eth0");
    assert_eq!(result["interfaces"][1]["sandbox"], pod.path().to_str().unwrap());
    assert_eq!(result["interfaces"][0]["name"], node.veths()[0].as_str());
    let address = result["ips"][0]["address"].as_str().unwrap();
    assert!(address.starts_with("10.77.0.") && address.ends_with("/32"), "{address}");
    assert_eq!(result["ips"][0]["gateway"], "169.254.1.1");
    assert_eq!(result["ips"][0]["interface"], 1);
    assert_eq!(result["ips"][1]["gateway"], "fe80::1");
    assert_eq!(
        result["routes"],
        json!([{ "dst": "0.0.0.0/0", "gw": "169.254.1.1" }, { "dst": "::/0", "gw": "fe80::1" }])
    );
    for address in NODE {
        assert!(pod.can_ping(address), "pod to node {address}");
    }
    for address in addresses(&result) {
        assert!(node.netns.can_ping(&address), "node to pod {address}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn two_pods_of_a_node_reach_each_other() {
    let (node, one, two) = (Node::new(), Netns::new("one"), Netns::new("two"));
    node.add("one", &one).ok();
    for address in addresses(&node.add("two", &two).ok()) {
        assert!(one.can_ping(&address), "{address}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_second_add_answers_the_same_and_leaves_the_interface_alone() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    let first = node.add("abc", &pod).ok();
    let link = pod.ip(&["link", "show", "eth0"]);
    assert_eq!(node.add("abc", &pod).ok(), first);
    assert_eq!(pod.ip(&["link", "show", "eth0"]), link);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_del_removes_everything_and_may_come_again_without_a_namespace() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    node.add("abc", &pod).ok();
    node.call("DEL", "abc", pod.path().to_str().unwrap(), &node.conf()).ok();
    node.assert_clean();
    assert_eq!(pod.ip(&["link", "show", "type", "veth"]), json!([]));
    node.del("abc").ok();
    node.del("never-was").ok();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_del_after_the_namespace_is_gone_frees_the_address() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    node.add("abc", &pod).ok();
    drop(pod);
    for _ in 0..100 {
        if node.veths().is_empty() {
            break;
        }
        // The kernel takes a namespace down in its own time.
        thread::sleep(Duration::from_millis(50));
    }
    node.del("abc").ok();
    node.assert_clean();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_container_created_anew_supersedes_the_old_one() {
    let (node, old, new) = (Node::new(), Netns::new("old"), Netns::new("new"));
    let first = node.add("abc", &old).ok();
    let second = node.add("abc", &new).ok();
    assert_ne!(addresses(&first), addresses(&second), "the old address cools off");
    assert_eq!(old.ip(&["link", "show", "type", "veth"]), json!([]));
    assert_eq!(node.veths().len(), 1);
    assert_eq!(node.entries().len(), 2);
    assert!(new.can_ping(NODE[0]));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_version_is_answered_in_its_own_shape() {
    let node = Node::new();
    for (at, version) in
        ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"].into_iter().enumerate()
    {
        let pod = Netns::new("pod");
        let mut conf = node.conf();
        conf["cniVersion"] = json!(version);
        let result = node.call("ADD", &format!("c{at}"), pod.path().to_str().unwrap(), &conf).ok();
        assert_eq!(result["cniVersion"], version);
        let address = if at < 2 { &result["ip4"]["ip"] } else { &result["ips"][0]["address"] };
        let address = address.as_str().unwrap();
        assert!(address.starts_with("10.77.0.") && address.ends_with("/32"), "{version}: {address}");
        let family = &result["ips"][1]["version"];
        assert_eq!(family, &if (2..5).contains(&at) { json!("6") } else { Value::Null }, "{version}");
        assert_eq!(result["interfaces"][1]["mtu"].is_u64(), at == 6, "{version}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn sixteen_adds_at_once_get_sixteen_addresses() {
    let node = Node::new();
    let pods: Vec<Netns> = (0..16).map(|_| Netns::new("pod")).collect();
    let results: Vec<Value> = thread::scope(|scope| {
        let start = |(at, pod)| {
            let node = &node;
            scope.spawn(move || node.add(&format!("c{at}"), pod).ok())
        };
        let threads: Vec<_> = pods.iter().enumerate().map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let given: BTreeSet<String> = results.iter().flat_map(addresses).collect();
    assert_eq!(given.len(), 32);
    assert_eq!(node.entries().len(), 32);
    for pod in &pods {
        assert!(pod.can_ping(NODE[0]));
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn two_interfaces_of_one_container_are_two_attachments() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    let first = node.add("abc", &pod).ok();
    let mut conf = node.conf();
    // Two default routes of one family would clash.
    conf["ipam"]["routes"] = json!([{ "dst": "198.51.100.0/24" }]);
    let path = pod.path();
    let second = node.call_with("ADD", "abc", path.to_str().unwrap(), &conf, &[("CNI_IFNAME", "net1")]).ok();
    assert_ne!(addresses(&first), addresses(&second));
    assert_eq!(second["routes"], json!([{ "dst": "198.51.100.0/24", "gw": "169.254.1.1" }]));
    node.call_with("DEL", "abc", "", &conf, &[("CNI_IFNAME", "net1")]).ok();
    assert!(pod.can_ping(NODE[0]), "the first one stays");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_second_network_leaves_the_first_its_default_route_and_gets_one_to_itself() {
    let (node, pod, other) = (Node::new(), Netns::new("pod"), Netns::new("other"));
    node.add("abc", &pod).ok();
    let defaults =
        || [["-4", "route"], ["-6", "route"]].map(|list| pod.ip(&[&list[..], &["show", "default"]].concat()));
    let before = defaults();
    let mut conf = node.conf();
    conf["name"] = json!("second");
    conf["ipam"] = json!({ "ranges": [[{ "subnet": "10.79.0.0/24" }], [{ "subnet": "fd79::/112" }]],
        "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }, { "dst": "198.51.100.0/24" },
            { "dst": "0.0.0.0/0", "priority": 50 }] });
    let call = |verb, container, netns: &Netns, ifname| {
        node.call_with(verb, container, netns.path().to_str().unwrap(), &conf, &[("CNI_IFNAME", ifname)])
    };
    let result = call("ADD", "abc", &pod, "net1").ok();
    let routes = result["routes"].as_array().unwrap();
    let destinations: Vec<_> = routes.iter().map(|route| route["dst"].as_str().unwrap()).collect();
    assert_eq!(destinations, ["198.51.100.0/24", "0.0.0.0/0", "10.79.0.0/24", "fd79::/112"], "{result}");
    let of_second = defaults()[0].as_array().unwrap().iter().find(|route| route["dev"] == "net1").cloned();
    assert_eq!(of_second.unwrap()["metric"], 50, "asked for beside the first");
    let of_first = |list: Value| {
        let first = list.as_array().unwrap().iter().filter(|route| route["dev"] == "eth0").cloned();
        Value::Array(first.collect())
    };
    assert_eq!(defaults().map(of_first), before);
    assert_eq!(call("ADD", "abc", &pod, "net1").ok(), result, "a second ADD");
    let far = addresses(&call("ADD", "other", &other, "eth0").ok());
    for to in far.iter().map(String::as_str).chain(NODE) {
        assert!(pod.can_ping(to), "{to}");
    }
    let mut checked = conf.clone();
    checked["prevResult"] = result;
    let path = pod.path();
    node.call_with("CHECK", "abc", path.to_str().unwrap(), &checked, &[("CNI_IFNAME", "net1")]).ok();
    call("DEL", "abc", &pod, "net1").ok();
    assert_eq!(defaults(), before);
    assert!(pod.can_ping(NODE[0]) && pod.can_ping(NODE[1]), "the first one stays");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_address_whose_route_somebody_else_has_is_refused_and_theirs_stays() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    node.add("warm", &Netns::new("warm")).ok();
    node.netns.run("ip", &["route", "add", "10.77.0.9/32", "dev", "up0", "proto", "static"]);
    let path = pod.path();
    let more = [("CNI_ARGS", "IP=10.77.0.9")];
    let (code, msg) = node.call_with("ADD", "abc", path.to_str().unwrap(), &node.conf(), &more).error();
    assert_eq!(code, 100, "{msg}");
    assert!(msg.contains("route 10.77.0.9/32: not ours: somebody else has a route to it"), "{msg}");
    assert!(node.netns.run("ip", &["route", "show", "10.77.0.9"]).contains("dev up0 proto static"));
    assert_eq!(pod.ip(&["link", "show", "type", "veth"]), json!([]));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_interface_that_the_container_has_already_is_refused_and_kept() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    pod.run("ip", &["link", "add", "eth0", "type", "bridge"]);
    let (code, msg) = node.add("abc", &pod).error();
    assert_eq!(code, 100, "{msg}");
    assert!(msg.contains("pod default/web-0") && msg.contains("eth0"), "{msg}");
    node.assert_clean();
    assert!(pod.succeeds("ip", &["link", "show", "eth0"]));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn mac_address_mtu_and_address_may_be_asked_for() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    let mut conf = node.conf();
    conf["mtu"] = json!(1400);
    conf["runtimeConfig"] = json!({ "mac": "02:11:22:33:44:55", "ips": ["10.77.0.99/24"] });
    let result = node.call("ADD", "abc", pod.path().to_str().unwrap(), &conf).ok();
    assert_eq!(addresses(&result)[0], "10.77.0.99");
    let link = &pod.ip(&["link", "show", "eth0"])[0];
    assert_eq!((&link["mtu"], &link["address"]), (&json!(1400), &json!("02:11:22:33:44:55")));
    let other = Netns::new("other");
    conf["runtimeConfig"] = json!({ "ips": ["10.77.0.99"] });
    assert_eq!(node.call("ADD", "other", other.path().to_str().unwrap(), &conf).error().0, 11);
    conf["runtimeConfig"] = json!({ "ips": ["10.99.0.1"] });
    assert_eq!(node.call("ADD", "other", other.path().to_str().unwrap(), &conf).error().0, 7);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_the_runtime_asks_for_in_any_of_its_ways_is_what_the_pod_gets() {
    let node = Node::new();
    let (mut with_args, mut with_capabilities) = (node.conf(), node.conf());
    with_args["args"] = json!({ "cni": { "ips": ["10.77.0.50"], "mac": "02:00:00:00:00:50" } });
    with_capabilities["ipam"] = json!({});
    with_capabilities["runtimeConfig"] = json!({
        "ipRanges": [[{ "subnet": "10.79.0.0/24", "rangeStart": "10.79.0.7", "rangeEnd": "10.79.0.7" }]],
        "dns": { "servers": ["10.77.0.10"], "searches": ["svc"], "options": ["ndots:5"] },
        "mac": "02:00:00:00:00:07",
    });
    let env = "IgnoreUnknown=1;IP=10.77.0.60;MAC=02:00:00:00:00:60";
    for (at, (conf, args, address, mac)) in [
        (&with_args, "", "10.77.0.50", "02:00:00:00:00:50"),
        (&with_capabilities, env, "10.79.0.7", "02:00:00:00:00:07"),
        (&node.conf(), env, "10.77.0.60", "02:00:00:00:00:60"),
    ]
    .into_iter()
    .enumerate()
    {
        let pod = Netns::new("pod");
        let args = if at == 1 { "IgnoreUnknown=1" } else { args };
        let path = pod.path();
        let id = format!("c{at}");
        let result = node.call_with("ADD", &id, path.to_str().unwrap(), conf, &[("CNI_ARGS", args)]).ok();
        assert_eq!(addresses(&result)[0], address);
        assert_eq!(pod.ip(&["link", "show", "eth0"])[0]["address"], mac);
        if at == 1 {
            let dns = json!({ "nameservers": ["10.77.0.10"], "search": ["svc"], "options": ["ndots:5"] });
            assert_eq!(result["dns"], dns);
        }
        node.call("DEL", &id, "", conf).ok();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn routes_of_the_configuration_are_set_with_their_metrics() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    let mut conf = node.conf();
    conf["cniVersion"] = json!("1.1.0");
    conf["ipam"]["routes"] = json!([
        { "dst": "198.51.100.0/24", "mtu": 1300, "advmss": 1200, "priority": 7 },
        { "dst": "2001:db8:51::/48", "priority": 9 },
    ]);
    let add = || node.call("ADD", "abc", pod.path().to_str().unwrap(), &conf).ok();
    let result = add();
    assert_eq!(result["routes"][0]["advmss"], 1200);
    assert_eq!(result["routes"][1]["priority"], 9);
    assert_eq!(add(), result, "a second ADD");
    let route = &pod.ip(&["route", "show", "198.51.100.0/24"])[0];
    assert_eq!((&route["gateway"], &route["metric"]), (&json!("169.254.1.1"), &json!(7)));
    assert_eq!(route["metrics"][0], json!({ "mtu": 1300, "advmss": 1200 }));
    assert_eq!(pod.ip(&["-6", "route", "show", "2001:db8:51::/48"])[0]["metric"], 9);
    assert_eq!(pod.ip(&["route", "show", "default"]), json!([]), "only what the configuration names");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_namespace_that_is_not_there_or_is_no_namespace_is_said_to_be_so() {
    let node = Node::new();
    let (code, msg) = node.call("ADD", "abc", "/run/netns/naru-is-not-there", &node.conf()).error();
    assert_eq!(code, 3, "{msg}");
    let (code, msg) = node.call("ADD", "abc", "/etc/hostname", &node.conf()).error();
    assert_eq!(code, 4, "{msg}");
    node.assert_clean();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn check_names_the_first_difference() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    let path = pod.path();
    let check = |conf: &Value| node.call("CHECK", "abc", path.to_str().unwrap(), conf);
    let (code, msg) = {
        let mut conf = node.conf();
        conf["prevResult"] = node.add("other", &Netns::new("other")).ok();
        check(&conf).error()
    };
    assert_eq!(code, 101 + 1, "{msg}");
    let result = node.add("abc", &pod).ok();
    let mut conf = node.conf();
    conf["prevResult"] = result.clone();
    check(&conf).ok();
    pod.run("ip", &["route", "add", "203.0.113.0/24", "dev", "eth0"]);
    check(&conf).ok();

    let veth = result["interfaces"][0]["name"].as_str().unwrap();
    let own = &addresses(&result)[0];
    let (route, address) = (format!("route {own}"), format!("address {own}"));
    let breaks: [(&Netns, Vec<&str>, &str); 4] = [
        // With its spare, by which the node still reaches the pod.
        (&node.netns, vec!["ip", "route", "flush", own], &route),
        (&pod, vec!["ip", "route", "del", "default"], "route 0.0.0.0/0"),
        (&pod, vec!["ip", "address", "flush", "dev", "eth0"], &address),
        (&node.netns, vec!["tc", "qdisc", "del", "dev", veth, "clsact"], "filters"),
    ];
    for (at, (netns, command, names)) in breaks.into_iter().enumerate() {
        netns.run(command[0], &command[1..]);
        let (code, msg) = check(&conf).error();
        assert_eq!(code, 102);
        assert!(msg.contains(names), "{names}: {msg}");
        node.del("abc").ok();
        let mut again = node.conf();
        again["runtimeConfig"] = json!({ "ips": addresses(&result) });
        assert_eq!(
            node.call("ADD", "abc", path.to_str().unwrap(), &again).ok()["ips"],
            result["ips"],
            "round {at}"
        );
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn gc_removes_what_the_runtime_does_not_list() {
    let (node, kept, stale) = (Node::new(), Netns::new("kept"), Netns::new("stale"));
    node.add("kept", &kept).ok();
    node.add("stale", &stale).ok();
    let mut conf = node.conf();
    conf["cniVersion"] = json!("1.1.0");
    conf["cni.dev/valid-attachments"] = json!([{ "containerID": "kept", "ifname": "eth0" }]);
    node.call("GC", "", "", &conf).ok();
    assert_eq!((node.veths().len(), node.held().len(), node.entries().len()), (1, 2, 2));
    assert!(kept.can_ping(NODE[0]));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn status_says_when_no_address_is_left() {
    let node = Node::new();
    let mut conf = node.conf();
    conf["cniVersion"] = json!("1.1.0");
    conf["ipam"] = json!({ "subnet": "10.78.0.0/31" });
    let status = || node.call("STATUS", "", "", &conf);
    status().ok();
    let pods = [Netns::new("one"), Netns::new("two"), Netns::new("three")];
    for (at, pod) in pods.iter().enumerate().take(2) {
        node.call("ADD", &format!("c{at}"), pod.path().to_str().unwrap(), &conf).ok();
    }
    let (code, msg) = status().error();
    assert_eq!(code, 50, "{msg}");
    let (code, msg) = node.call("ADD", "c2", pods[2].path().to_str().unwrap(), &conf).error();
    assert_eq!(code, 11, "{msg}");
    node.call("DEL", "c0", "", &conf).ok();
    status().ok();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn as_loopback_it_brings_lo_up() {
    let pod = Netns::new("pod");
    let directory = tempfile::tempdir().unwrap();
    let name = directory.path().join("loopback");
    std::os::unix::fs::symlink(harness::PLUGIN, &name).unwrap();
    let path = pod.path();
    let environment = |verb| {
        [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", "c"),
            ("CNI_IFNAME", "lo"),
            ("CNI_NETNS", path.to_str().unwrap()),
        ]
    };
    let conf = br#"{"cniVersion":"0.3.1","name":"cni-loopback","type":"loopback"}"#;
    let result = harness::call(name.to_str().unwrap(), &environment("ADD"), conf).ok();
    assert_eq!(result["ips"][0], json!({ "version": "4", "interface": 0, "address": "127.0.0.1/8" }));
    assert!(pod.can_ping("127.0.0.1"));
    harness::call(name.to_str().unwrap(), &environment("CHECK"), conf).ok();
    harness::call(name.to_str().unwrap(), &environment("DEL"), conf).ok();
}
