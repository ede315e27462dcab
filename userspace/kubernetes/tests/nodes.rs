//! The effects of Node objects, settings and other objects of a real API server.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod bed;

use std::{fs, time::Duration};

use naru_cluster::View;
use naru_core::cluster::NodeSpec;
use naru_kubernetes::{Access, KubernetesSource};
use serde_json::{Value, json};

use bed::{Bed, Followed, names, node};

fn remarks(view: &View) -> Vec<String> {
    view.remarks.iter().map(ToString::to_string).collect()
}

fn spec(view: &View, name: &str) -> NodeSpec {
    view.cluster.as_ref().unwrap().node(name).unwrap().clone()
}

/// Loses every goodbye.
fn lose_deletions(bed: &Bed) {
    bed.relay.faults().filter = Some(Box::new(|line| {
        let is_lost = line.starts_with("{\"type\":\"DELETED\"");
        if is_lost { Vec::new() } else { vec![line.to_owned()] }
    }));
}

async fn three() -> (Bed, Followed) {
    let bed = Bed::new();
    (1..=3).for_each(|number| drop(bed.create(&node(number))));
    let mut followed = bed.follow();
    followed.nodes(&[1, 2, 3]).await;
    (bed, followed)
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn a_node_that_says_nonsense_keeps_its_last_good_word_and_stops_no_other() {
    let (bed, mut followed) = three().await;
    let annotate = |value: Value| {
        bed.patch("node002", json!({ "metadata": { "annotations": { "naru.dev/node-addresses": value } } }));
    };
    annotate(json!("203.0.113.2"));
    let wanted: [std::net::IpAddr; 2] = ["203.0.113.2", "198.51.100.2"].map(|text| text.parse().unwrap());
    let is_so = |view: &View| spec(view, "node002").addresses == wanted;
    followed.wait("the annotation", is_so).await;
    annotate(json!("nonsense"));
    let view = followed.wait("a remark", |view| !view.remarks.is_empty()).await;
    let remark = "node node002: annotation naru.dev/node-addresses: `nonsense` is not an address: \
                  what it said before stays";
    assert_eq!(remarks(&view), [remark]);
    assert_eq!(spec(&view, "node002").addresses, wanted);
    bed.create(&node(4));
    let view = followed.nodes(&[1, 2, 3, 4]).await;
    assert_eq!(spec(&view, "node002").addresses, wanted);
    annotate(Value::Null);
    let view = followed.wait("the end of the remark", |view| view.remarks.is_empty()).await;
    assert_eq!(spec(&view, "node002").addresses, [wanted[1]]);
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn a_node_that_comes_back_under_its_name_is_another_one() {
    let (bed, mut followed) = three().await;
    lose_deletions(&bed);
    bed.delete(&["node003".into()]);
    bed.create(&NodeSpec { blocks: vec!["10.32.77.0/24".parse().unwrap()], ..node(3) });
    let moved = |view: &View| spec(view, "node003").blocks == ["10.32.77.0/24".parse().unwrap()];
    followed.wait("the new block", moved).await;
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn a_range_that_moves_leads_to_the_new_node_though_the_old_ones_goodbye_is_lost() {
    let (bed, mut followed) = three().await;
    lose_deletions(&bed);
    bed.delete(&["node003".into()]);
    bed.create(&NodeSpec { blocks: node(3).blocks, ..node(4) });
    let view = followed.nodes(&[1, 2, 4]).await;
    assert_eq!(spec(&view, "node004").blocks, node(3).blocks);
    assert_eq!(remarks(&view), ["node node003: 10.32.3.0/24 overlaps 10.32.3.0/24 of node node004"]);
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn nodes_that_are_no_machines_or_of_another_system_are_left_out_quietly() {
    let (bed, mut followed) = three().await;
    let mut virtual_one = bed::object(&NodeSpec { name: "vk1".into(), ..NodeSpec::default() });
    virtual_one["metadata"]["labels"] = json!({ "type": "virtual-kubelet" });
    let mut windows = bed::object(&node(9));
    windows["metadata"]["labels"] = json!({ "kubernetes.io/os": "windows" });
    let mut named = bed::object(&NodeSpec { name: "vk2".into(), ..NodeSpec::default() });
    named["status"]["addresses"] = json!([{ "type": "Hostname", "address": "vk2" }]);
    for object in [virtual_one, windows, named] {
        bed.ask("POST", "/api/v1/nodes", Some(object)).unwrap();
    }
    bed.create(&node(4));
    let view = followed.nodes(&[1, 2, 3, 4]).await;
    assert_eq!(remarks(&view), Vec::<String>::new());
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn this_node_without_a_range_gives_out_nothing_and_takes_the_one_that_comes() {
    let bed = Bed::new();
    bed.create(&NodeSpec { blocks: Vec::new(), ..node(1) });
    bed.create(&node(2));
    let mut followed = bed.follow();
    let view = followed.nodes(&[1, 2]).await;
    assert!(spec(&view, "node001").blocks.is_empty());
    let remark = "node node001: no podCIDR: the cluster gives it no range, and it gives out no addresses";
    assert_eq!(remarks(&view), [remark]);
    bed.patch("node001", json!({ "spec": { "podCIDR": "10.32.1.0/24", "podCIDRs": ["10.32.1.0/24"] } }));
    let view = followed.wait("the range", |view| view.remarks.is_empty()).await;
    assert_eq!(spec(&view, "node001").blocks, node(1).blocks);
    bed.delete(&["node001".into()]);
    let view = followed.wait("its end", |view| !view.remarks.is_empty()).await;
    assert_eq!(
        (spec(&view, "node001").blocks.len(), spec(&view, "node001").addresses),
        (0, node(1).addresses)
    );
    assert_eq!(names(&view), ["node001", "node002"]);
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn a_node_that_the_api_never_had_is_waited_for_by_name() {
    let bed = Bed::new();
    bed.create(&node(2));
    let mut followed = bed.follow();
    let view = followed.wait("a complaint", |view| view.complaint.is_some()).await;
    assert_eq!(view.cluster, None);
    let words = view.complaint.unwrap().to_string();
    assert_eq!(words, "node node001: the API has no Node of this name with an address: is NARU_NODE right?");
    bed.create(&node(1));
    followed.nodes(&[1, 2]).await;
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn ranges_of_services_come_and_go_while_the_cluster_runs_and_a_flag_overrides_them() {
    let (bed, mut followed) = three().await;
    let ranges = |texts: &[&str]| Some(texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>());
    followed.wait("the first range", |view| view.services == ranges(&["10.96.0.0/16"])).await;
    let path = "/apis/networking.k8s.io/v1/servicecidrs";
    let object = json!({ "metadata": { "name": "more" }, "spec": { "cidrs": ["10.97.0.0/16"] } });
    bed.ask("POST", path, Some(object)).unwrap();
    followed.wait("both", |view| view.services == ranges(&["10.96.0.0/16", "10.97.0.0/16"])).await;
    let services = vec!["10.200.0.0/16".parse().unwrap()];
    let mut other = Followed::new(KubernetesSource { services, ..bed.source() });
    let view = other.nodes(&[1, 2, 3]).await;
    assert_eq!(view.services, ranges(&["10.200.0.0/16"]));
    bed.ask("DELETE", &format!("{path}/more"), None).unwrap();
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn settings_are_followed_and_a_file_that_is_missed_changes_nothing() {
    let (bed, mut followed) = three().await;
    let masquerade = |view: &View| view.cluster.as_ref().unwrap().masquerade;
    assert!(masquerade(&followed.views.borrow()), "no file means defaults");
    fs::write(bed.path("settings.toml"), "masquerade = false\n").unwrap();
    followed.wait("the setting", |view| !masquerade(view)).await;
    fs::write(bed.path("settings.toml"), "masquerade = true\nrouting = \"x\"\n").unwrap();
    let view = followed.wait("a complaint", |view| view.complaint.is_some()).await;
    assert!(view.complaint.as_ref().unwrap().to_string().contains("settings.toml:2: routing"), "{view:?}");
    assert!(!masquerade(&view));
    fs::write(bed.path("settings.toml"), "masquerade = false\n").unwrap();
    followed.wait("the end of the complaint", |view| view.complaint.is_none()).await;
    fs::remove_file(bed.path("settings.toml")).unwrap();
    let view = followed.wait("a complaint", |view| view.complaint.is_some()).await;
    assert!(!masquerade(&view), "absence is no default");
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn a_network_that_a_cloud_calls_unavailable_is_available_once_the_node_serves() {
    let bed = Bed::new();
    let mut object = bed::object(&node(1));
    object["status"]["conditions"] =
        json!([{ "type": "NetworkUnavailable", "status": "True", "reason": "Cloud" }]);
    bed.ask("POST", "/api/v1/nodes", Some(object)).unwrap();
    let mut followed = bed.follow();
    followed.nodes(&[1]).await;
    let condition = || {
        let node = bed.ask("GET", "/api/v1/nodes/node001", None).unwrap();
        node["status"]["conditions"][0]["status"].as_str().unwrap().to_owned()
    };
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(condition(), "True", "it does not serve yet");
    followed.contact.set_ready(true);
    for _ in 0..600 {
        if condition() == "False" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the condition stays");
}

/// The rights that the manifest grants to agents; there are no others.
const RIGHTS: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: { name: naru, namespace: kube-system }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: naru }
rules:
- { apiGroups: [""], resources: [nodes], verbs: [get, list, watch] }
- { apiGroups: [""], resources: [nodes/status], verbs: [patch] }
- { apiGroups: [networking.k8s.io], resources: [servicecidrs], verbs: [get, list, watch] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: naru }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: naru }
subjects: [{ kind: ServiceAccount, name: naru, namespace: kube-system }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: naru, namespace: default }
rules: [{ apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [get, list, watch] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: naru, namespace: default }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: naru }
subjects: [{ kind: ServiceAccount, name: naru, namespace: kube-system }]
"#;

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn the_rights_of_an_agent_are_enough_and_servers_are_remembered_by_their_own_addresses() {
    let bed = Bed::new();
    bed.create(&node(1));
    bed.plane().run(&["apply", "-f", "-"], RIGHTS).unwrap();
    let token = bed.plane().run(&["create", "token", "naru", "-n", "kube-system"], "").unwrap();
    fs::write(bed.path("token"), token).unwrap();
    fs::write(bed.path("ca.crt"), bed.plane().authority().pem()).unwrap();
    let slice = json!({
        "metadata": { "name": "kubernetes", "labels": { "kubernetes.io/service-name": "kubernetes" } },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": ["198.51.100.200"] }],
        "ports": [{ "name": "https", "port": 6443, "protocol": "TCP" }],
    });
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    bed.ask("POST", slices, Some(slice)).unwrap();
    let source = KubernetesSource {
        access: Access::ServiceAccount(bed.directory.path().to_owned()),
        servers: vec![bed.relay.address().to_string()],
        ..bed.source()
    };
    let mut followed = Followed::new(source);
    let view = followed.nodes(&[1]).await;
    assert_eq!(remarks(&view), Vec::<String>::new());
    followed.wait("the ranges of Services", |view| view.services.is_some()).await;
    for _ in 0..600 {
        let memory = fs::read_to_string(bed.path("kubernetes.json")).unwrap_or_default();
        if memory.contains("\"servers\":[\"198.51.100.200:6443\"]") {
            bed.ask("DELETE", &format!("{slices}/kubernetes"), None).unwrap();
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no server is remembered");
}
