//! `naru agent --kubernetes` on a machine of its own, with a real API server in the machine's namespace.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

#[path = "../machine/mod.rs"]
mod machine;

mod clone;
mod scene;
mod situations;
mod size;

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::Duration,
};

use machine::{Agent, CLUSTER, Machine, pod::Pod, run, wait};
use naru_controlplane::{ControlPlane, Options};
use scene::{Scene, text};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);

/// Echo requests from a pod, five a second for `seconds`.
fn pings(pod: &Pod, to: &str, seconds: u32) -> Child {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{}", pod.name)).arg("--").arg("ping");
    command.args(["-i", "0.2", "-c", &(seconds * 5).to_string(), "-W", "1", to]);
    command.stdout(Stdio::piped()).spawn().unwrap()
}

fn all_answered(pings: Child) {
    let output = pings.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains(" 0% packet loss"), "{said}");
}

#[test]
#[ignore = "needs root and Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
fn nodes_join_and_leave_by_themselves_within_a_second_and_leave_no_trace() {
    let scene = Scene::new();
    let _agent = scene.agent();
    wait("node2", PATIENCE, || scene.has("10.32.1.0/24 tunnel") || scene.has("10.32.1.0/24 direct"));
    wait("the configuration of the runtime", PATIENCE, || {
        scene.machine.path("cni/conf/05-naru.conflist").exists()
    });
    let before = scene.traces();
    let rounds = (0..5).map(|_| {
        scene.create(3, &["10.32.2.0/24", "fd10:32::2:0/112"]);
        let is_in_maps =
            || scene.has("10.32.2.0/24 ") && scene.has("fd10:32::2:0/112 ") && scene.has("198.51.100.3/32");
        let joined = wait("node3 in the maps", PATIENCE, is_in_maps);
        scene.delete("node3");
        joined.max(wait("node3 to be gone", PATIENCE, || scene.traces() == before))
    });
    let fastest = rounds.min().unwrap();
    assert!(fastest < SECOND, "{fastest:?}");
    assert!(scene.probe("live") && scene.probe("ready"));
    let file = scene.kubeconfig();
    let (code, listed) = scene.machine.json(&["node", "list"]);
    assert_eq!(
        (code, text(&listed[0]["standing"]), text(&listed[1]["blocks"][0])),
        (0, "this node", "10.32.1.0/24")
    );
    let (code, shown) =
        scene.machine.json(&["node", "show", "node2", "--kubeconfig", file.to_str().unwrap()]);
    assert_eq!((code, text(&shown["addresses"][0])), (0, "198.51.100.2"));
    assert!(!text(&shown["uid"]).is_empty());
    assert_eq!(scene.machine.outcome(&["node", "show", "nobody"]).0, 1);
    let check = ["cluster", "check", "--kubeconfig", file.to_str().unwrap()];
    assert_eq!(scene.machine.outcome(&check), (0, "nothing found\n".to_owned()));
    scene.create(4, &[]);
    let (code, found) = scene.machine.json(&check);
    assert_eq!(
        (code, text(&found[0]["code"]), text(&found[0]["subject"])),
        (1, "node-without-range", "node node4")
    );
    assert_eq!(scene.machine.outcome(&["cluster", "check", "--kubeconfig", "/none"]).0, 2);
    let agent = scene.status()["agent"].clone();
    assert_eq!(text(&agent["source"]), "the Kubernetes API");
    assert!(agent["heard"].as_u64().is_some() && text(&agent["revision"]).starts_with("revision "));
    assert!(scene.machine.ok(&["status"]).contains("source     the Kubernetes API, heard "));
}

#[test]
#[ignore = "needs root and Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
fn a_node_without_a_range_is_not_ready_and_says_so_and_takes_each_range_that_comes() {
    let scene = Scene::new();
    scene.delete("node1");
    scene.create(1, &[]);
    let _agent = scene.agent();
    let conflist = scene.machine.path("cni/conf/05-naru.conflist");
    let pod = Pod::new(&scene.machine, "a", json!({}));
    let refusal =
        (11, "the cluster gives node node1 no pod range: no address is given out until it does".to_owned());
    assert_eq!(pod.add_as(&scene.machine, "a").unwrap_err(), refusal);
    assert!(!conflist.exists() && !scene.probe("ready") && scene.probe("live"));
    scene
        .plane
        .run(&["patch", "node", "node1", "-p", r#"{"spec":{"podCIDRs":["10.32.0.0/24"]}}"#], "")
        .unwrap();
    wait("the range", PATIENCE, || conflist.exists() && scene.probe("ready"));
    let first = pod.add(&scene.machine);
    assert!(first[0].starts_with("10.32.0."));
    // The cluster takes it back: somebody deletes the object.
    scene.delete("node1");
    wait("no range", PATIENCE, || !scene.probe("ready"));
    assert!(conflist.exists());
    let next = Pod::new(&scene.machine, "b", json!({}));
    assert_eq!(next.add_as(&scene.machine, "b").unwrap_err().0, 11);
    let status = next.call_with(&scene.machine, "STATUS", &json!({ "cniVersion": "1.1.0" }));
    let answer: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!((answer["code"].as_u64(), text(&answer["msg"])), (Some(50), refusal.1.as_str()));
    let evidence = format!("{} is in no range of this node any more: other nodes do not reach it", first[0]);
    assert_eq!(scene.findings("pod-outside-range"), [format!("pod default/{}: {evidence}", pod.name)]);
    // The kubelet registers it again, and it gets another one.
    scene.create(1, &["10.32.7.0/24"]);
    wait("the next range", PATIENCE, || scene.probe("ready"));
    assert!(next.add(&scene.machine)[0].starts_with("10.32.7."));
    assert_eq!(scene.findings("pod-outside-range").len(), 1);
    pod.del(&scene.machine);
    assert_eq!(scene.findings("pod-outside-range").len(), 0);
}

#[test]
#[ignore = "needs root and Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
fn a_node_goes_over_to_kubernetes_and_back_while_its_pods_run() {
    let scene = Scene::new();
    scene.machine.write_cluster(CLUSTER);
    let agent = scene.machine.agent();
    let pod = Pod::new(&scene.machine, "a", json!({}));
    let addresses = pod.add(&scene.machine);
    let before = scene.machine.entries();
    let pings = pings(&pod, "198.51.100.1", 15);
    assert!(agent.terminate());
    fs::write(
        scene.machine.path("config/settings.toml"),
        "ranges = [\"10.32.0.0/12\", \"fd10:32::/48\"]\nrouting = \"tunnel\"\n",
    )
    .unwrap();
    let agent = scene.agent();
    wait("the API to be followed", PATIENCE, || scene.status()["agent"]["revision"].is_string());
    assert_eq!(scene.machine.entries(), before);
    scene.create(3, &["10.32.2.0/24"]);
    wait("node3", PATIENCE, || scene.has("10.32.2.0/24 "));
    assert!(agent.terminate());
    let _agent = scene.machine.agent();
    wait("the file to be followed", PATIENCE, || scene.machine.entries() == before);
    assert_eq!(pod.add(&scene.machine), addresses, "a repeated ADD says the same");
    all_answered(pings);
}

#[test]
#[ignore = "needs root and Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
fn pods_come_and_go_while_the_api_is_away_also_after_the_agent_was_killed() {
    let mut scene = Scene::new();
    let agent = scene.agent();
    wait("readiness", PATIENCE, || scene.probe("ready"));
    let (before, port) = (scene.traces(), scene.plane.servers()[0].address().port());
    scene.plane.stop_server(0);
    wait("a complaint", PATIENCE, || scene.status()["agent"]["complaint"].is_string());
    let pod = Pod::new(&scene.machine, "a", json!({}));
    pod.add(&scene.machine);
    pod.del(&scene.machine);
    assert!(scene.probe("live") && scene.probe("ready"));
    agent.kill();
    let _agent = {
        let (name, file) = ("agent.kubeconfig", format!("127.0.0.1:{port}").parse().unwrap());
        let file = scene.plane.kubeconfig(name, file).unwrap();
        scene.machine.agent_with(&["--kubernetes", "--kubeconfig", file.to_str().unwrap()])
    };
    assert_eq!(scene.traces(), before, "it serves the cluster that it accepted last");
    wait("readiness", PATIENCE, || scene.probe("ready"));
    pod.add(&scene.machine);
    let etcd = scene.plane.etcd().to_owned();
    scene.plane.add_server(port, &etcd).unwrap();
    scene.create(3, &["10.32.2.0/24"]);
    wait("node3", PATIENCE, || scene.has("10.32.2.0/24 "));
}

#[test]
#[ignore = "needs root and Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
fn a_node_without_contact_for_longer_than_allowed_gives_out_no_address_and_its_pods_go_on() {
    let mut scene = Scene::new();
    fs::create_dir_all(scene.machine.path("config")).unwrap();
    fs::write(scene.machine.path("config/settings.toml"), "contact_limit = \"5s\"\n").unwrap();
    let agent = scene.agent();
    wait("readiness", PATIENCE, || scene.probe("ready"));
    wait("a note of the contact", PATIENCE, || scene.machine.path("state/contact.json").exists());
    let (old, new) = (Pod::new(&scene.machine, "old", json!({})), Pod::new(&scene.machine, "new", json!({})));
    let address = old.add(&scene.machine)[0].clone();
    let port = scene.plane.servers()[0].address().port();
    scene.plane.stop_server(0);
    let is_over = || {
        let answer = new.add_as(&scene.machine, "new");
        new.del(&scene.machine);
        answer.is_err_and(|(code, said)| code == 11 && said.contains("contact_limit is 5 s"))
    };
    wait("the end of the time", PATIENCE, is_over);
    assert_eq!(scene.findings("out-of-contact").len(), 1);
    assert!(!scene.probe("ready") && scene.probe("live"));
    let status = new.call_with(&scene.machine, "STATUS", &json!({ "cniVersion": "1.1.0" }));
    assert_eq!(serde_json::from_slice::<Value>(&status.stdout).unwrap()["code"], 50);
    let address = address.split('/').next().unwrap();
    run(Command::new("nsenter")
        .arg(format!("--net={}", scene.machine.netns().display()))
        .args(["ping", "-c", "3", "-i", "0.2", "-W", "5", address]));
    // Without an agent it stays so, and with an API it ends.
    agent.kill();
    assert_eq!(new.add_as(&scene.machine, "new").unwrap_err().0, 11);
    let etcd = scene.plane.etcd().to_owned();
    scene.plane.add_server(port, &etcd).unwrap();
    let _agent = scene.agent();
    wait("contact", PATIENCE, || scene.probe("ready"));
    new.add(&scene.machine);
    fs::write(scene.machine.path("config/settings.toml"), "").unwrap();
    wait("no limit", PATIENCE, || !scene.machine.path("state/contact.json").exists());
}

#[test]
#[ignore = "needs root and Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
fn a_connection_whose_other_end_is_gone_without_a_word_is_given_up_within_thirty_seconds() {
    let scene = Scene::new();
    let _agent = scene.agent();
    wait("readiness", PATIENCE, || scene.probe("ready"));
    let port = scene.plane.servers()[0].address().port();
    scene.machine.tool("nft add table inet gone");
    scene.machine.tool("nft add chain inet gone input { type filter hook input priority 0 ; }");
    for end in ["sport", "dport"] {
        scene.machine.tool(&format!("nft add rule inet gone input tcp {end} {port} drop"));
    }
    let given_up = wait("a complaint", PATIENCE, || scene.status()["agent"]["complaint"].is_string());
    assert!(given_up < Duration::from_secs(30), "{given_up:?}");
    scene.machine.tool("nft delete table inet gone");
    scene.create(3, &["10.32.2.0/24"]);
    wait("node3", PATIENCE, || scene.has("10.32.2.0/24 "));
}

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[test]
#[ignore = "needs root and Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
fn agents_and_api_servers_that_are_killed_at_random_end_with_what_is_true() {
    let mut scene = Scene::new();
    let (port, etcd) = (scene.plane.servers()[0].address().port(), scene.plane.etcd().to_owned());
    // What the runtime looks for is a finding where it is not there.
    fs::create_dir_all(scene.machine.path("cni/bin")).unwrap();
    fs::write(scene.machine.path("cni/bin/naru-cni"), "").unwrap();
    let mut agent = Some(scene.agent());
    wait("readiness", PATIENCE, || scene.probe("ready"));
    let minutes = if std::env::var_os("NARU_SOAK").is_some() { 10 } else { 1 };
    let (mut dice, since) = (Dice(1), std::time::Instant::now());
    let (mut is_up, mut has_node, mut pods) = (true, [false; 20], Vec::new());
    while since.elapsed() < Duration::from_secs(60 * minutes) {
        match dice.below(8) {
            0 if is_up => {
                scene.plane.stop_server(0);
                is_up = false;
            }
            0 | 1 if !is_up => {
                scene.plane.add_server(port, &etcd).unwrap();
                is_up = true;
            }
            2 => {
                agent.take().into_iter().for_each(Agent::kill);
                agent = is_up.then(|| scene.agent());
            }
            3 if !pods.is_empty() => Pod::del(&pods.remove(0), &scene.machine),
            3 | 4 => {
                let pod = Pod::new(&scene.machine, &format!("p{}", dice.below(u64::MAX)), json!({}));
                pod.add(&scene.machine);
                pods.push(pod);
            }
            _ if is_up => {
                let number = u8::try_from(dice.below(20)).unwrap();
                let is_there = &mut has_node[usize::from(number)];
                match std::mem::replace(is_there, !*is_there) {
                    true => scene.delete(&format!("node{}", number + 50)),
                    false => scene.create(number + 50, &[&format!("10.40.{number}.0/24")]),
                }
            }
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
    if !is_up {
        scene.plane.add_server(port, &etcd).unwrap();
    }
    let _agent = agent.unwrap_or_else(|| scene.agent());
    let is_right = || (0..20).all(|number| has_node[number] == scene.has(&format!("10.40.{number}.0/24 ")));
    wait("what is true", PATIENCE, is_right);
    for pod in pods {
        pod.del(&scene.machine);
    }
    wait("no difference", PATIENCE, || scene.machine.outcome(&["ipam", "check"]).0 == 0);
    assert_eq!(scene.status()["findings"], json!([]));
}

#[test]
#[ignore = "needs root and Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
fn uninstall_needs_no_api_and_leaves_nothing() {
    let machine = Machine::new();
    let before = machine.snapshot();
    let (plane, machine) = {
        let options = Options { netns: Some(machine.netns()), ..Options::default() };
        (ControlPlane::start(options).unwrap(), machine)
    };
    let mut scene = Scene { plane, machine };
    scene.create(1, &["10.32.0.0/24"]);
    let agent = scene.agent();
    wait("readiness", PATIENCE, || scene.probe("ready"));
    wait("what it remembers", PATIENCE, || scene.machine.path("state/kubernetes.json").exists());
    scene.plane.stop_server(0);
    agent.kill();
    scene.machine.ok(&["uninstall"]);
    run(Command::new("rm").arg(scene.machine.path("agent.log")));
    let after = scene.machine.snapshot();
    for (then, now) in before.iter().zip(&after) {
        assert_eq!(then, now, "{}", then.0);
    }
}
