//! Kind 16: CHECK believes nothing: whatever `prevResult` lists of ours must be there as it says, what is ours must be
//! listed, and without a list there is nothing to compare with.

mod harness;

use harness::{Netns, Node};
use serde_json::{Value, json};

#[test]
#[ignore = "needs root: cargo xtask test"]
fn whatever_is_wrong_with_prev_result_check_names_it() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    let path = pod.path();
    let result = node.add("abc", &pod).ok();
    let check = |change: &dyn Fn(&mut Value)| {
        let mut conf = node.conf();
        conf["prevResult"] = result.clone();
        change(&mut conf);
        node.call("CHECK", "abc", path.to_str().unwrap(), &conf)
    };
    check(&|_| {}).ok();
    let own = |conf: &mut Value, key: &str, value: Value| conf["prevResult"]["interfaces"][1][key] = value;
    type Change<'a> = &'a dyn Fn(&mut Value);
    let wrong: [(u64, &str, Change<'_>); 20] = [
        (7, "prevResult: missing", &|conf| drop(conf.as_object_mut().unwrap().remove("prevResult"))),
        (7, "prevResult: missing", &|conf| conf["prevResult"] = Value::Null),
        (7, "prevResult", &|conf| conf["prevResult"] = json!([])),
        (7, "prevResult", &|conf| conf["prevResult"] = json!("")),
        (7, "prevResult", &|conf| conf["prevResult"]["interfaces"] = json!([[], []])),
        (102, "no interface eth0", &|conf| conf["prevResult"] = json!({})),
        (102, "no interface eth0", &|conf| {
            conf["prevResult"]["interfaces"] = json!([{ "name": "x" }, { "name": "y" }])
        }),
        (102, "no interface eth0", &|conf| own(conf, "name", json!("eth1"))),
        (102, "no interface eth0", &|conf| own(conf, "sandbox", json!("/run/netns/other"))),
        (102, "no interface eth0", &|conf| own(conf, "sandbox", json!(""))),
        (102, "has mac", &|conf| own(conf, "mac", json!("02:00:00:00:00:09"))),
        (102, "of this node", &|conf| conf["prevResult"]["interfaces"][0]["name"] = json!("narux")),
        (102, "has mac", &|conf| conf["prevResult"]["interfaces"][0]["mac"] = json!("02:00:00:00:00:09")),
        (102, "no address 10.77.", &|conf| conf["prevResult"]["ips"] = json!([])),
        (102, "no address fd77::", &|conf| drop(conf["prevResult"]["ips"].as_array_mut().unwrap().pop())),
        (102, "no address 10.77.", &|conf| conf["prevResult"]["ips"][0]["interface"] = json!(0)),
        (102, "does not hold 10.77.0.200", &|conf| {
            conf["prevResult"]["ips"][0]["address"] = json!("10.77.0.200/32")
        }),
        (102, "but the address is", &|conf| {
            let address = conf["prevResult"]["ips"][0]["address"].as_str().unwrap().replace("/32", "/24");
            conf["prevResult"]["ips"][0]["address"] = json!(address);
        }),
        (102, "the gateway of", &|conf| conf["prevResult"]["ips"][0]["gateway"] = json!("10.77.0.1")),
        (102, "route 198.51.100.0/24", &|conf| {
            conf["prevResult"]["routes"].as_array_mut().unwrap().push(json!({ "dst": "198.51.100.0/24" }));
        }),
    ];
    for (at, (code, words, change)) in wrong.into_iter().enumerate() {
        let (found, msg) = check(change).error();
        assert!(found == code && msg.contains(words), "{at}: {words}: {found} {msg}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_others_add_to_prev_result_or_write_otherwise_is_nothing_wrong() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    let path = pod.path();
    let result = node.add("abc", &pod).ok();
    let check = |change: &dyn Fn(&mut Value)| {
        let mut conf = node.conf();
        conf["prevResult"] = result.clone();
        change(&mut conf);
        node.call("CHECK", "abc", path.to_str().unwrap(), &conf)
    };
    let own = |conf: &mut Value, key: &str, value: Value| conf["prevResult"]["interfaces"][1][key] = value;
    type Change<'a> = &'a dyn Fn(&mut Value);
    let right: [Change<'_>; 4] = [
        // Others of the chain add to it.
        &|conf| {
            let list = conf["prevResult"]["interfaces"].as_array_mut().unwrap();
            list.push(json!({ "name": "br0", "mac": "02:00:00:00:00:07" }));
        },
        &|conf| {
            own(
                conf,
                "mac",
                json!(conf["prevResult"]["interfaces"][1]["mac"].as_str().unwrap().to_uppercase()),
            )
        },
        &|conf| own(conf, "mac", json!("")),
        &|conf| own(conf, "sandbox", json!(path.to_str().unwrap().replace("/run/", "/var/run/"))),
    ];
    for change in right {
        check(change).ok();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_changes_behind_a_right_prev_result_is_named() {
    let (node, pod) = (Node::new(), Netns::new("pod"));
    let mut conf = node.conf();
    conf["prevResult"] = node.add("abc", &pod).ok();
    let veth = conf["prevResult"]["interfaces"][0]["name"].as_str().unwrap().to_owned();
    let check = || node.call("CHECK", "abc", pod.path().to_str().unwrap(), &conf);
    check().ok();
    pod.run("ip", &["link", "set", "eth0", "address", "02:00:00:00:00:42"]);
    let (code, msg) = check().error();
    assert!(code == 102 && msg.contains("has mac"), "{msg}");
    let mac = conf["prevResult"]["interfaces"][1]["mac"].as_str().unwrap();
    pod.run("ip", &["link", "set", "eth0", "address", mac]);
    check().ok();
    node.netns.run("ip", &["link", "set", &veth, "address", "02:00:00:00:00:43"]);
    let (code, msg) = check().error();
    assert!(code == 102 && msg.contains("has mac"), "{msg}");
}
