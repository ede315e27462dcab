use serde_json::{Value, json};

use super::*;

fn read(object: &Value) -> Result<Node, String> {
    Node::read(object.to_string().as_bytes())
}

fn node() -> Value {
    json!({
        "metadata": { "name": "node1", "labels": { "kubernetes.io/os": "linux" } },
        "spec": { "podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd44:1::/64"] },
        "status": {
            "addresses": [
                { "type": "Hostname", "address": "node1" },
                { "type": "ExternalIP", "address": "203.0.113.1" },
                { "type": "InternalIP", "address": "192.168.77.11" },
                { "type": "InternalIP", "address": "fe80::1" },
                { "type": "InternalIP", "address": "fd77::11" },
                { "type": "InternalIP", "address": "192.168.77.11" },
            ],
            "nodeInfo": { "machineID": "abc", "operatingSystem": "linux" },
            "conditions": [{ "type": "NetworkUnavailable", "status": "True" }],
        },
    })
}

fn with(pointer: &str, value: Value) -> Value {
    let mut node = node();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    node.pointer_mut(parent).unwrap()[key] = value;
    node
}

#[test]
fn a_node_has_its_internal_addresses_and_its_blocks() {
    let read = read(&node()).unwrap();
    assert_eq!(read.addresses, ["192.168.77.11".parse::<IpAddr>().unwrap(), "fd77::11".parse().unwrap()]);
    assert_eq!(read.blocks, ["10.244.1.0/24".parse::<IpNet>().unwrap(), "fd44:1::/64".parse().unwrap()]);
    assert_eq!((read.standing, read.machine.as_str(), read.is_unavailable), (Standing::Ours, "abc", true));
}

#[test]
fn an_annotation_names_other_addresses() {
    let set = |text: &str| with("/metadata/annotations", json!({ ADDRESSES: text }));
    let addresses = read(&set("10.0.0.7, fd00::7, fd77::11")).unwrap().addresses;
    let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        ["10.0.0.7", "fd00::7", "fd77::11", "192.168.77.11"],
        "then what the machine has itself"
    );
    for (text, reason) in [
        ("10.0.0.x", "annotation naru.dev/node-addresses: `10.0.0.x` is not an address"),
        ("", "annotation naru.dev/node-addresses: `` is not an address"),
        (
            "127.0.0.1",
            "annotation naru.dev/node-addresses: 127.0.0.1 is no node's address: it is unspecified, loopback, \
             link-local or multicast",
        ),
    ] {
        assert_eq!(read(&set(text)).unwrap_err(), reason);
    }
}

#[test]
fn what_is_not_there_is_no_error_and_no_default() {
    let read = read(&json!({ "metadata": { "name": "a" } })).unwrap();
    assert_eq!((read.addresses.len(), read.blocks.len(), read.standing), (0, 0, Standing::Ours));
}

#[test]
fn others_are_told_apart_whatever_they_say() {
    let with_label = |key: &str, value: &str| with("/metadata/labels", json!({ key: value }));
    let windows = read(&with_label("kubernetes.io/os", "windows")).unwrap();
    assert_eq!((windows.standing, windows.blocks.len()), (Standing::OtherSystem, 0));
    assert_eq!(read(&with_label("type", "virtual-kubelet")).unwrap().standing, Standing::Virtual);
    let unlabelled = with("/status/nodeInfo/operatingSystem", json!("windows"));
    assert_eq!(read(&unlabelled).unwrap().standing, Standing::Ours, "the label is the later word");
}

#[test]
fn one_podcidr_of_an_old_server_is_a_block() {
    let mut node = node();
    node["spec"].as_object_mut().unwrap().remove("podCIDRs");
    assert_eq!(read(&node).unwrap().blocks, ["10.244.1.0/24".parse::<IpNet>().unwrap()]);
}

#[test]
fn a_block_that_cannot_be_is_named() {
    for (block, reason) in [
        ("10.244.1.5/24", "podCIDR 10.244.1.5/24 has host bits set; the network is 10.244.1.0/24"),
        ("0.0.0.0/0", "podCIDR `0.0.0.0/0` is not a network such as 10.32.0.0/12"),
        ("none", "podCIDR `none` is not a network such as 10.32.0.0/12"),
    ] {
        assert_eq!(read(&with("/spec/podCIDRs", json!([block]))).unwrap_err(), reason);
    }
}

#[test]
fn any_field_of_another_type_is_an_error_and_no_panic() {
    for pointer in ["/spec/podCIDRs", "/status/addresses", "/metadata/annotations", "/status/conditions"] {
        for value in [json!(7), json!("x"), json!([7]), json!({ "a": 7 })] {
            assert!(read(&with(pointer, value.clone())).is_err(), "{pointer} {value}");
        }
    }
}

#[test]
fn blocks_are_as_old_as_they_are_whatever_else_changes() {
    let mut first = read(&node()).unwrap();
    first.succeed(None, Some(7));
    let mut same = read(&node()).unwrap();
    same.succeed(Some(&first), Some(9));
    assert_eq!((first.since, same.since), (7, 7));
    let mut moved = read(&with("/spec/podCIDRs", json!(["10.244.9.0/24"]))).unwrap();
    moved.succeed(Some(&same), Some(11));
    assert_eq!(moved.since, 11);
}
