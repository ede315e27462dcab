use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    machine::wait,
    scene::{
        ALL, Host, NONE, OTHER, PATIENCE, PORT, PROMPT, SOON, Scene, from_app, object, policy, question,
        serve,
    },
};

fn deny_all() -> Value {
    policy("deny", "s", json!({ "policyTypes": ["Ingress"] }))
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_policy_of_files_isolates_allows_and_goes_and_the_node_always_reaches_its_pods() {
    let (scene, _agent) = Scene::with_files();
    wait("answers", PATIENCE, || scene.answers() == [ALL, ALL]);
    assert_eq!(scene.status(), Value::Null, "no policy was ever in force");
    assert!(!scene.machine.path("state/policies.json").exists());
    assert_eq!(scene.at_uplink(), json!([1, 0]), "all packets of pods take the tunnel");

    scene.write(&[deny_all()]);
    wait("isolation", PROMPT, || scene.answers() == [NONE, NONE]);
    assert_eq!(scene.at_uplink(), json!([1, 1]), "what the stack sends elsewhere is judged there");
    assert_eq!(scene.a.udp(&scene.server, PORT), NONE);
    assert_eq!(scene.probe(), ALL);

    scene.write(&[deny_all(), policy("allow", "s", from_app("a"))]);
    wait("one client", PROMPT, || scene.answers() == [ALL, NONE]);
    assert_eq!((scene.a.tcp(&scene.server, OTHER), scene.a.udp(&scene.server, PORT)), (NONE, NONE));
    wait("the note", PROMPT, || scene.status()["policies"].as_array().is_some_and(|all| all.len() == 2));
    let note = scene.status();
    assert_eq!(note["policies"], json!(["default/allow", "default/deny"]));
    let isolated = note["pods"].as_array().unwrap().iter().filter(|pod| pod["ingress"] == true);
    assert_eq!(isolated.count(), 1, "{note}");

    scene.write(&[]);
    wait("answers again", PROMPT, || scene.answers() == [ALL, ALL]);
    wait("nothing on disk", PROMPT, || !scene.machine.path("state/policies.json").exists());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_label_that_goes_cuts_an_open_connection_and_one_that_comes_needs_no_other() {
    let (scene, _agent) = Scene::with_files();
    scene.write(&[policy("allow", "s", from_app("a"))]);
    wait("one client", PATIENCE, || scene.answers() == [ALL, NONE]);
    let mut open = scene.a.connection(&scene.server, PORT);
    question(&mut open, SOON).unwrap();
    scene.write_with(["s", "x", "a"], &[policy("allow", "s", from_app("a"))]);
    wait("the other client", PROMPT, || scene.answers() == [NONE, ALL]);
    question(&mut open, Duration::from_millis(500)).unwrap_err();
    scene.write(&[policy("allow", "s", from_app("a"))]);
    wait("the first client", PROMPT, || scene.answers() == [ALL, NONE]);
    // What was sent meanwhile comes by itself.
    question(&mut open, Duration::from_secs(30)).unwrap();
}

/// A case: its name, the policy, and which ports of the server answer to each client.
type Case = (&'static str, Value, [[bool; 2]; 2]);

fn ingress(rule: Value) -> Value {
    policy("p", "s", json!({ "policyTypes": ["Ingress"], "ingress": [rule] }))
}

fn by_peers(a: &str) -> Vec<Case> {
    vec![
        (
            "nobody",
            ingress(json!({ "from": [{ "podSelector": { "matchLabels": { "app": "z" } } }] })),
            [NONE, NONE],
        ),
        ("everybody", ingress(json!({})), [ALL, ALL]),
        ("every pod", ingress(json!({ "from": [{ "podSelector": {} }] })), [ALL, ALL]),
        (
            "a namespace",
            ingress(json!({ "from": [{ "namespaceSelector": { "matchLabels": { "team": "x" } } }] })),
            [ALL, ALL],
        ),
        (
            "another namespace",
            ingress(json!({ "from": [{ "namespaceSelector": { "matchLabels": { "team": "y" } } }] })),
            [NONE, NONE],
        ),
        (
            "pods of a namespace",
            ingress(json!({ "from": [{
                "namespaceSelector": { "matchLabels": { "team": "x" } },
                "podSelector": { "matchLabels": { "app": "b" } },
            }] })),
            [NONE, ALL],
        ),
        (
            "an address",
            ingress(json!({ "from": [{ "ipBlock": { "cidr": format!("{a}/32") } }] })),
            [[true, false], NONE],
        ),
        (
            "a block without one",
            ingress(json!({ "from": [{
                "ipBlock": { "cidr": "10.32.0.0/24", "except": [format!("{a}/32")] },
            }] })),
            [NONE, [true, false]],
        ),
    ]
}

fn by_ports() -> Vec<Case> {
    vec![
        ("a named port", ingress(json!({ "ports": [{ "port": "web" }] })), [ALL, ALL]),
        ("another name", ingress(json!({ "ports": [{ "port": "ssh" }] })), [NONE, NONE]),
        ("a range", ingress(json!({ "ports": [{ "port": 8000, "endPort": 8100 }] })), [ALL, ALL]),
        ("another range", ingress(json!({ "ports": [{ "port": 8081, "endPort": 9999 }] })), [NONE, NONE]),
        (
            "another protocol",
            ingress(json!({ "ports": [{ "port": PORT, "protocol": "UDP" }] })),
            [NONE, NONE],
        ),
        ("no egress of a", policy("p", "a", json!({ "policyTypes": ["Egress"] })), [NONE, ALL]),
        (
            "egress of a to s",
            policy(
                "p",
                "a",
                json!({ "policyTypes": ["Egress"], "egress": [{
                "to": [{ "podSelector": { "matchLabels": { "app": "s" } } }],
                "ports": [{ "port": "web" }],
            }] }),
            ),
            [ALL, ALL],
        ),
    ]
}

/// Every kind of peer and port, in both directions.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn selectors_blocks_ranges_and_names_allow_what_they_say_and_nothing_else() {
    let (scene, _agent) = Scene::with_files();
    wait("answers", PATIENCE, || scene.answers() == [ALL, ALL]);
    let a = scene.a.addresses[0].to_string();
    let table = by_peers(&a).into_iter().chain(by_ports());
    for (name, object, expected) in table {
        scene.write(&[object]);
        wait(name, PROMPT, || scene.answers() == expected);
        assert_eq!(scene.probe(), ALL, "{name}: the node reaches its pods");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_new_pod_has_its_rights_before_its_add_ends_and_is_closed_while_no_agent_runs() {
    let (scene, agent) = Scene::with_files();
    let allow = policy("allow", "s", from_app("a"));
    scene.write(std::slice::from_ref(&allow));
    wait("one client", PATIENCE, || scene.answers() == [ALL, NONE]);

    let machine = &scene.machine;
    let name = |name: &str| {
        let own = machine.netns().file_name().unwrap().to_string_lossy().into_owned();
        format!("{own}-{name}")
    };
    let early = |name: String, app: &str| {
        let mut object = scene.a.object(app);
        object["metadata"]["name"] = json!(name);
        object
    };
    scene.write(&[allow.clone(), early(name("c"), "a"), early(name("d"), "s"), early(name("e"), "s")]);
    let client = Host::new(machine, "c");
    assert!(client.reaches(&scene.server, PORT), "its first connection is allowed");
    let server = Host::new(machine, "d");
    serve(&server.pod);
    assert_eq!(scene.b.tcp(&server, PORT), NONE, "the first connection to it is denied");
    assert!(scene.a.reaches(&server, PORT));

    agent.kill();
    assert_eq!(scene.answers(), [ALL, NONE], "what is in force stays");
    let later = Host::new(machine, "e");
    serve(&later.pod);
    assert_eq!((scene.a.tcp(&later, PORT), scene.b.tcp(&later, PORT)), (NONE, NONE), "closed");
    serve(&scene.b.pod);
    assert!(later.reaches(&scene.b, PORT), "no policy isolates anybody in this direction");
    let _agent = machine.agent();
    wait("its rights", PATIENCE, || scene.a.tcp(&later, PORT) == ALL);
    assert_eq!(scene.b.tcp(&later, PORT), NONE);
    assert_eq!(scene.answers(), [ALL, NONE]);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_agent_that_starts_again_moves_every_pod_over_without_losing_or_passing_anything() {
    let (scene, agent) = Scene::with_files();
    scene.write(&[policy("allow", "s", from_app("a"))]);
    wait("one client", PATIENCE, || scene.answers() == [ALL, NONE]);
    let mut open = scene.a.connection(&scene.server, PORT);
    question(&mut open, SOON).unwrap();
    let mut agent = Some(agent);
    for _ in 0..3 {
        agent.take().unwrap().kill();
        let next = scene.machine.agent();
        for _ in 0..50 {
            question(&mut open, SOON).unwrap();
            assert!(!scene.b.tcp(&scene.server, PORT)[0]);
        }
        agent = Some(next);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn policies_are_switched_off_and_on_and_a_pod_that_nobody_describes_is_closed() {
    let (scene, _agent) = Scene::with_files();
    let unknown = Host::new(&scene.machine, "unknown");
    serve(&unknown.pod);
    let keys = |mode: &str| {
        let keys = format!("routing = \"tunnel\"\npolicy_files = \"policies\"\npolicies = \"{mode}\"\n");
        scene.machine.write_cluster(&crate::machine::CLUSTER.replace("routing = \"tunnel\"\n", &keys));
    };
    scene.write(&[deny_all()]);
    wait("isolation", PATIENCE, || scene.answers() == [NONE, NONE]);
    wait("closed", PROMPT, || scene.a.tcp(&unknown, PORT) == NONE);
    wait("the finding", PATIENCE, || scene.machine.says(&["status"], "pod-closed"));
    keys("off");
    wait("nothing is judged", PATIENCE, || {
        scene.answers() == [ALL, ALL] && scene.a.tcp(&unknown, PORT) == ALL
    });
    keys("auto");
    wait("isolation again", PATIENCE, || scene.answers() == [NONE, NONE]);
    let described = object(&unknown.pod, "free");
    scene.write(&[deny_all(), described]);
    wait("no policy selects it", PROMPT, || scene.a.tcp(&unknown, PORT) == ALL);
}
