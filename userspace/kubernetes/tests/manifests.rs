//! `deploy/naru.yaml` and the Helm chart, as the real helm and the real API server take them.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod bed;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use bed::Bed;

/// Metadata fields that the API server adds to every object, with values that differ each time.
const ADDED: [&str; 6] =
    ["uid", "creationTimestamp", "resourceVersion", "generation", "managedFields", "annotations"];

/// The agents' account, for questions about its rights.
const AS: &str = "--as=system:serviceaccount:kube-system:naru";

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().join("deploy").join(name)
}

fn helm(bed: &Bed, arguments: &[&str]) -> String {
    let mut command = Command::new(bed.plane().programs().path("helm"));
    command
        .args(arguments)
        .env("HELM_CACHE_HOME", bed.path("helm"))
        .env("HELM_CONFIG_HOME", bed.path("helm"));
    let output = command.output().unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        if output.status.success() { "".into() } else { String::from_utf8_lossy(&output.stderr) }
    );
    assert!(output.status.success(), "helm {arguments:?}: {said}");
    said
}

fn rendered(bed: &Bed, more: &[&str]) -> String {
    let chart = deploy("helm");
    let render = ["template", "naru", chart.to_str().unwrap(), "--namespace", "kube-system"];
    helm(bed, &[&render[..], more].concat())
}

/// The objects as the server would keep them, by kind and name.
fn taken(bed: &Bed, manifest: &str) -> BTreeMap<String, Value> {
    let apply = ["apply", "--dry-run=server", "-f", "-", "-o", "json"];
    let list: Value = serde_json::from_str(&bed.plane().run(&apply, manifest).unwrap()).unwrap();
    let objects = list["items"].as_array().unwrap().iter().cloned();
    let named = |mut object: Value| {
        object["metadata"].as_object_mut().unwrap().retain(|key, _| !ADDED.contains(&key.as_str()));
        let name =
            format!("{} {}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
        (name, object)
    };
    objects.map(named).collect()
}

fn settings(objects: &mut BTreeMap<String, Value>) -> String {
    let data = &mut objects.get_mut("ConfigMap naru").unwrap()["data"];
    data["settings.toml"].take().as_str().unwrap().trim().to_owned()
}

#[test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
fn the_chart_renders_the_manifest_and_the_api_server_takes_both() {
    let bed = Bed::new();
    let manifest = fs::read_to_string(deploy("naru.yaml")).unwrap();
    let (mut file, mut chart) = (taken(&bed, &manifest), taken(&bed, &rendered(&bed, &[])));
    assert_eq!(file.len(), 8, "{:?}", file.keys());
    assert_eq!(settings(&mut file), settings(&mut chart));
    assert_eq!(file, chart);
    // As a tool does that shares objects with others.
    let shared = ["apply", "--server-side", "--dry-run=server", "-f", "-"];
    bed.plane().run(&shared, &manifest).unwrap();
}

#[test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
fn helm_finds_no_fault_with_the_chart_and_every_value_arrives() {
    let bed = Bed::new();
    let said = helm(&bed, &["lint", "--strict", deploy("helm").to_str().unwrap()]);
    assert!(said.contains("1 chart(s) linted, 0 chart(s) failed"), "{said}");
    let values = [
        "image.repository=registry.example/naru",
        "image.tag=v9",
        "image.pullPolicy=Never",
        "cniConfDir=/a",
        "cniBinDir=/b",
        "apiServer=https://192.0.2.1:6443",
        "resources.limits.memory=64Mi",
        "settings=masquerade = false",
    ];
    let set: Vec<&str> = values.iter().flat_map(|value| ["--set", value]).collect();
    let mut objects = taken(&bed, &rendered(&bed, &set));
    assert_eq!(settings(&mut objects), "masquerade = false");
    let data = &objects["ConfigMap naru"]["data"];
    let said = ["cniConfDir", "cniBinDir", "apiServer"].map(|key| data[key].as_str().unwrap());
    assert_eq!(said, ["/a", "/b", "https://192.0.2.1:6443"]);
    let pod = &objects["DaemonSet naru"]["spec"]["template"]["spec"];
    for container in [&pod["initContainers"][0], &pod["containers"][0]] {
        assert_eq!(container["image"], "registry.example/naru:v9");
        assert_eq!(container["imagePullPolicy"], "Never");
        assert_eq!(container["resources"]["limits"]["memory"], "64Mi");
    }
}

#[test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
fn agents_may_read_what_they_follow_and_change_nothing_of_it() {
    let bed = Bed::new();
    let manifest = fs::read_to_string(deploy("naru.yaml")).unwrap();
    bed.plane().run(&["apply", "-f", "-"], &manifest).unwrap();
    let may = |verb: &str, what: &str| {
        let question = ["auth", "can-i", verb, what, AS, "-n", "default"];
        // The answer no is a failure to kubectl.
        bed.plane().run(&question, "").is_ok_and(|said| said.trim() == "yes")
    };
    for what in [
        "nodes",
        "services",
        "namespaces",
        "pods",
        "servicecidrs.networking.k8s.io",
        "networkpolicies.networking.k8s.io",
        "endpointslices.discovery.k8s.io",
    ] {
        assert!(["get", "list", "watch"].iter().all(|verb| may(verb, what)), "{what}");
        for verb in ["create", "update", "patch", "delete", "deletecollection"] {
            assert!(!may(verb, what), "{verb} {what}");
        }
    }
    let lent = "podaddresses.naru.dev";
    assert!(["get", "list", "watch", "create", "patch"].iter().all(|verb| may(verb, lent)));
    assert!(!["update", "delete", "deletecollection"].iter().any(|verb| may(verb, lent)));
    assert!(may("create", "events"));
    assert!(!["get", "list", "watch", "update", "patch", "delete"].iter().any(|verb| may(verb, "events")));
    let status = ["patch", "nodes", "--subresource=status", "-A", AS];
    let said = bed.plane().run(&[&["auth", "can-i"][..], &status].concat(), "").unwrap();
    assert_eq!(said.trim().lines().last(), Some("yes"));
    assert!(!may("get", "secrets"));
    // The next test begins without them.
    bed.plane().run(&["delete", "--wait=false", "-f", "-"], &manifest).unwrap();
}
