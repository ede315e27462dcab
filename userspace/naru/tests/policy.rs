//! `naru policy` over objects in files.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking, their helpers too")]

use std::{path::Path, process::Command};

const OBJECTS: &str = r"
kind: Namespace
metadata: {name: bank, labels: {team: b}}
---
kind: Pod
metadata: {namespace: shop, name: web, labels: {app: web}}
spec: {nodeName: node1}
status: {phase: Running, podIPs: [{ip: 10.0.1.1}]}
---
kind: Pod
metadata: {namespace: bank, name: client}
spec: {nodeName: node1}
status: {phase: Running, podIPs: [{ip: 10.0.1.3}]}
---
kind: NetworkPolicy
metadata: {namespace: shop, name: web}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}}], ports: [{port: 8080}]}]
";

/// The standard output, the standard error and the exit status.
fn naru(objects: &Path, arguments: &[&str]) -> (String, String, i32) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_naru"));
    let output = command.arg("policy").args(arguments).arg("--objects").arg(objects).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code().unwrap())
}

#[test]
fn policies_are_listed_shown_and_explained() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("objects.yaml"), OBJECTS).unwrap();
    let ask = |arguments: &[&str]| naru(directory.path(), arguments);
    let (list, _, code) = ask(&["list"]);
    assert_eq!((list.lines().count(), code), (2, 0), "{list}");
    assert!(list.contains("shop/web"), "{list}");
    let (shown, _, _) = ask(&["show", "shop/web"]);
    assert_eq!(
        shown,
        "ingress: isolated by shop/web\n  shop/web rule 1: pods everything of namespaces team=b, TCP 8080\n\
         egress: no policy isolates the pod, everything passes\n"
    );
    assert_eq!(ask(&["who-can", "shop/web", "8080"]).0, "pod bank/client\n");
    assert_eq!(ask(&["who-can", "shop/web", "80"]).0, "");
    assert_eq!(ask(&["explain", "bank/client", "shop/web", "8080"]).2, 0);
    let (denied, _, code) = ask(&["explain", "bank/client", "shop/web", "53/UDP"]);
    assert_eq!(code, 1);
    assert!(denied.contains("no rule allows UDP 53 from pod bank/client (10.0.1.3); nearest is"), "{denied}");
    let (_, error, code) = ask(&["show", "shop/nobody"]);
    assert_eq!((error.as_str(), code), ("naru: pod shop/nobody: there is none of this name\n", 1));
}

#[test]
fn flows_that_a_file_would_cut_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let objects = directory.path().join("objects");
    std::fs::create_dir(&objects).unwrap();
    std::fs::write(objects.join("all.yaml"), OBJECTS).unwrap();
    let deny = "kind: NetworkPolicy\nmetadata: {namespace: bank, name: deny}\n\
                spec: {podSelector: {}, policyTypes: [Egress]}";
    let (file, flows) =
        (write("deny.yaml", deny), write("flows", "10.0.1.3 10.0.1.1 8080\n10.9.9.9 10.0.1.3 22\n"));
    let (told, _, code) = naru(&objects, &["check", &file, "--flows", &flows]);
    assert_eq!(code, 1, "{told}");
    assert!(told.starts_with("10.0.1.3 > 10.0.1.1 would be cut: bank/client: denied"), "{told}");
    assert!(told.ends_with("1 objects read, 1 of 2 flows would be cut\n"), "{told}");
    let wrong = write("wrong.yaml", "kind: NetworkPolicy\nmetadata: {name: p}\nspec: {ingres: []}");
    let (_, error, code) = naru(&objects, &["check", &wrong]);
    assert_eq!(code, 1);
    assert!(error.contains("wrong.yaml: ") && error.contains("ingres"), "{error}");
}
