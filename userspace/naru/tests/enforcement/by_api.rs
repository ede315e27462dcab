use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use naru_controlplane::{ControlPlane, Options};
use serde_json::{Value, json};

use crate::{
    machine::{Agent, Machine, wait},
    scene::{ALL, Host, NONE, PATIENCE, PORT, PROMPT, Scene, from_app, policy, serve},
};

/// A control plane in the machine's namespace with node1, the account of pods, and an agent.
fn begin(machine: &Machine) -> (ControlPlane, PathBuf, Agent) {
    let options = Options { netns: Some(machine.netns()), ..Options::default() };
    let plane = ControlPlane::start(options).unwrap();
    let node = json!({
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": { "name": "node1" },
        "spec": { "podCIDR": "10.32.0.0/24", "podCIDRs": ["10.32.0.0/24", "fd10:32::/112"] },
        "status": { "addresses": [{ "type": "InternalIP", "address": "198.51.100.1" }] },
    });
    plane.run(&["create", "--raw", "/api/v1/nodes", "-f", "-"], &node.to_string()).unwrap();
    // Nobody else makes it: no controller manager runs.
    let account = json!({ "kind": "ServiceAccount", "apiVersion": "v1", "metadata": { "name": "default" } });
    wait("the namespace", PATIENCE, || {
        let made = plane.run(&["create", "-n", "default", "-f", "-"], &account.to_string());
        made.is_ok() || made.is_err_and(|error| error.to_string().contains("exists"))
    });
    let file = plane.kubeconfig("agent.kubeconfig", plane.servers()[0].address()).unwrap();
    let agent = agent(machine, &file);
    wait("readiness", PATIENCE, || machine.outcome(&["agent", "--probe", "ready"]).0 == 0);
    (plane, file, agent)
}

fn agent(machine: &Machine, file: &Path) -> Agent {
    machine.agent_with(&["--kubernetes", "--kubeconfig", file.to_str().unwrap()])
}

fn create(plane: &ControlPlane, object: &Value) {
    plane.run(&["create", "-f", "-"], &object.to_string()).unwrap();
}

fn label(plane: &ControlPlane, pod: &Host, app: &str) {
    plane.run(&["label", "--overwrite", "pod", pod.name(), &format!("app={app}")], "").unwrap();
}

#[test]
#[ignore = "needs root and Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
fn policies_of_the_api_are_in_force_and_stay_while_it_is_away() {
    let mut plane = None;
    let (scene, agent_before) = Scene::new(|machine| {
        let (started, file, agent) = begin(machine);
        plane = Some((started, file));
        agent
    });
    let (mut plane, file) = plane.unwrap();
    for (host, app) in [(&scene.server, "s"), (&scene.a, "a"), (&scene.b, "b")] {
        create(&plane, &host.object(app));
    }
    assert_eq!(scene.answers(), [ALL, ALL]);
    create(&plane, &policy("deny", "s", json!({ "policyTypes": ["Ingress"] })));
    wait("isolation", PATIENCE, || scene.answers() == [NONE, NONE]);
    assert_eq!(scene.probe(), ALL);
    create(&plane, &policy("allow", "s", from_app("a")));
    wait("one client", PROMPT, || scene.answers() == [ALL, NONE]);
    label(&plane, &scene.a, "x");
    wait("no client", PROMPT, || scene.answers() == [NONE, NONE]);
    label(&plane, &scene.b, "a");
    wait("the other client", PROMPT, || scene.answers() == [NONE, ALL]);

    plane.stop_server(0);
    wait("a complaint", PATIENCE, || {
        scene.machine.json(&["status"]).1["agent"]["policies"]["complaint"].is_string()
    });
    assert_eq!(scene.answers(), [NONE, ALL], "what was known last stays");
    agent_before.kill();
    let _agent = agent(&scene.machine, &file);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(scene.answers(), [NONE, ALL], "also for an agent that never heard the API");
    let later = Host::new(&scene.machine, "later");
    serve(&later.pod);
    assert_eq!(scene.b.tcp(&later, PORT), NONE, "nobody knows its labels");
}

/// The pods of node1 whose addresses it lends; `None` if there is no object.
fn lent(plane: &ControlPlane) -> Option<Value> {
    let said = plane.run(&["get", "podaddresses", "node1", "-o", "json"], "").ok()?;
    serde_json::from_str::<Value>(&said).ok()?.get("pods").cloned()
}

#[test]
#[ignore = "needs root and Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
fn a_new_pods_address_is_lent_to_other_nodes_until_its_status_shows_it() {
    let mut plane = None;
    let (scene, _agent) = Scene::new(|machine| {
        let (started, _, agent) = begin(machine);
        plane = Some(started);
        agent
    });
    let plane = plane.unwrap();
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().join("deploy/naru.yaml");
    let manifest = std::fs::read_to_string(manifest).unwrap();
    let is_definition = |object: &&str| object.contains("kind: CustomResourceDefinition");
    plane.run(&["apply", "-f", "-"], manifest.split("\n---\n").find(is_definition).unwrap()).unwrap();
    create(&plane, &scene.server.object("s"));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(lent(&plane), None, "nothing is written where there are no policies");

    create(&plane, &policy("deny", "s", json!({ "policyTypes": ["Ingress"] })));
    let uid = plane.run(&["get", "pod", scene.server.name(), "-o", "jsonpath={.metadata.uid}"], "").unwrap();
    let address = scene.server.addresses[0].to_string();
    let lends_it = || {
        let pods = lent(&plane)?;
        let entry = pods.as_array()?.iter().find(|entry| entry["uid"] == uid.as_str())?.clone();
        entry["addresses"].as_array().map(|all| all.contains(&json!(address)))
    };
    wait("the object", PATIENCE, || lends_it() == Some(true));
    let status = json!({ "status": { "podIP": address, "podIPs": [{ "ip": address }] } }).to_string();
    let patch = ["patch", "pod", scene.server.name(), "--subresource=status", "--type=merge", "-p", &status];
    plane.run(&patch, "").unwrap();
    wait("the other family alone", PATIENCE, || lends_it() == Some(false));
}
