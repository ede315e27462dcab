//! containerd (through CRI) and podman (with its CNI backend), as Debian ships them, with pods on naru.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking, their helpers too")]

use std::{
    fs,
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    thread,
    time::Duration,
};

use naru_e2e::{
    lab::{Lab, Node},
    probe::{Host, tcp},
    runtime::{chain, containerd::Containerd, inventory::Inventory, pod::Pod, podman::Podman},
    tool,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// A stream each way, both families; `exec` also pings from inside the container.
fn talk(from: &Pod, to: &Pod, exec: impl Fn(&str) -> anyhow::Result<String>) {
    [false, true].into_iter().for_each(|v6| talk_by(v6, from, to, &exec));
}

fn talk_by(v6: bool, from: &Pod, to: &Pod, exec: impl Fn(&str) -> anyhow::Result<String>) {
    let (client, server) = (from.host(v6).unwrap(), to.host(v6).unwrap());
    let said = exec(&format!("ping -c 2 -W 2 {}", server.address)).unwrap();
    assert!(said.contains(" 0% packet loss"), "{said}");
    let report = tcp::stream(&client, &server, 8 << 20, 8 << 20).unwrap();
    assert_eq!(report.peer.ip(), client.address, "nothing translates addresses between pods");
}

fn addresses<'a>(pods: &[&'a Pod]) -> Vec<&'a [IpAddr]> {
    pods.iter().map(|pod| pod.addresses.as_slice()).collect()
}

/// The node's leases, map entries, routes and veths are those of `pods`. Veths go a moment after their namespaces.
fn holds_exactly(node: &Node, pods: &[&Pod]) {
    let agrees = || Inventory::of(node)?.must_be_of(addresses(pods));
    tool::holds_within(Duration::from_secs(20), || agrees().is_ok());
    agrees().unwrap();
}

/// Kills the process that the runtime names as the pod's.
fn kill(pod: &Pod) {
    kill_process(Pid::from_raw(pod.pid).unwrap(), Signal::KILL).unwrap();
}

fn must_see_end(containerd: &Containerd, pod: &Pod) {
    let ended = || containerd.sandboxes().is_ok_and(|(_, ended)| ended.contains(&pod.id));
    assert!(
        tool::holds_within(Duration::from_secs(30), ended),
        "containerd does not see that {} ended",
        pod.name
    );
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn pods_of_containerd_talk_and_leave_nothing_when_they_die_or_containerd_does() {
    let lab = Lab::up("--nodes 1 --pods 0").unwrap();
    let mut containerd = Containerd::start(&lab.name, lab.node("n1").unwrap().clone()).unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| containerd.run_pod(name).unwrap());
    talk(&a, &b, |line| containerd.exec(&a, line));
    holds_exactly(&containerd.node, &[&a, &b, &c]);
    // A container dies: the pod keeps its addresses until it is removed, which is told to naru twice.
    kill(&c);
    must_see_end(&containerd, &c);
    containerd.remove_pod(&c.id).unwrap();
    holds_exactly(&containerd.node, &[&a, &b]);
    // containerd dies, and a pod meanwhile.
    containerd.kill().unwrap();
    kill(&b);
    tcp::stream(&a.host(false).unwrap(), &lab.must_host("n1", false).unwrap(), 1 << 20, 1 << 20).unwrap();
    containerd.launch().unwrap();
    must_see_end(&containerd, &b);
    assert_eq!(containerd.sandboxes().unwrap().0, std::slice::from_ref(&a.id));
    containerd.remove_pod(&b.id).unwrap();
    let d = containerd.run_pod("d").unwrap();
    talk(&d, &a, |line| containerd.exec(&d, line));
    holds_exactly(&containerd.node, &[&a, &d]);
    for pod in [&a, &d] {
        containerd.remove_pod(&pod.id).unwrap();
        assert!(!pod.netns.exists(), "{} is left", pod.netns.display());
    }
    holds_exactly(&containerd.node, &[]);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn containerd_needs_nothing_but_the_standalone_list_on_a_machine_that_is_no_node() {
    let lab = Lab::up("--nodes 1 --pods 0 --no-agent").unwrap();
    let node = lab.node("n1").unwrap().clone();
    node.naru("uninstall").unwrap();
    fs::remove_file(node.root.join("config/cluster.toml")).unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/standalone.conflist");
    fs::copy(example, node.root.join("cni/conf/10-naru.conflist")).unwrap();
    let containerd = Containerd::start(&lab.name, node).unwrap();
    let [a, b] = ["a", "b"].map(|name| containerd.run_pod(name).unwrap());
    assert!(a.addresses[0].to_string().starts_with("10.22."), "{a:?}");
    talk_by(false, &a, &b, |line| containerd.exec(&a, line));
    talk_by(false, &b, &a, |line| containerd.exec(&b, line));
    let (pod, out) = (a.host(false).unwrap(), lab.must_host("out", false).unwrap());
    let report = tcp::stream(&pod, &out, 1 << 20, 1 << 20).unwrap();
    assert!(lab.node("n1").unwrap().addresses.contains(&report.peer.ip()), "ipMasq: {report:?}");
    holds_exactly(&containerd.node, &[&a, &b]);
    [&a, &b].into_iter().for_each(|pod| containerd.remove_pod(&pod.id).unwrap());
    holds_exactly(&containerd.node, &[]);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn late_goodbyes_to_pods_of_before_a_reboot_take_nothing_from_new_ones() {
    let lab = Lab::up("--nodes 1 --pods 0 --no-agent").unwrap();
    let mut containerd = Containerd::start(&lab.name, lab.node("n1").unwrap().clone()).unwrap();
    let old = ["a", "b"].map(|name| containerd.run_pod(name).unwrap());
    // The new pod of that name gets the old one's address, and not one from where the pool begins this time.
    let reserve = format!("ipam reserve {} --pod e2e/a", old[0].addresses[0]);
    containerd.node.naru_json(&reserve).unwrap();
    containerd.power_off().unwrap();
    rustix::mount::unmount(containerd.node.root.join("bpf"), rustix::mount::UnmountFlags::DETACH).unwrap();
    // The store is still there, as where /run is not a tmpfs: it must know by the boot id that nobody is.
    containerd.node.boot_id = Some("00000000-0000-4000-8000-0000000c0e2e".to_owned());
    containerd.launch().unwrap();
    let new = ["a", "b", "c"].map(|name| containerd.run_pod(name).unwrap());
    assert!(new[0].addresses.contains(&old[0].addresses[0]), "the goodbyes endanger nobody: {old:?} {new:?}");
    let (_, ended) = containerd.sandboxes().unwrap();
    assert!(old.iter().all(|pod| ended.contains(&pod.id)), "{ended:?}");
    old.iter().for_each(|pod| containerd.remove_pod(&pod.id).unwrap());
    holds_exactly(&containerd.node, &[&new[0], &new[1], &new[2]]);
    talk(&new[0], &new[2], |line| containerd.exec(&new[0], line));
    new.iter().for_each(|pod| containerd.remove_pod(&pod.id).unwrap());
    holds_exactly(&containerd.node, &[]);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn pods_of_two_nodes_with_containerd_reach_each_other() {
    let lab = Lab::up("--nodes 2 --pods 0").unwrap();
    let [one, two] =
        ["n1", "n2"].map(|name| Containerd::start(&lab.name, lab.node(name).unwrap().clone()).unwrap());
    let (a, b) = (one.run_pod("a").unwrap(), two.run_pod("b").unwrap());
    talk(&a, &b, |line| one.exec(&a, line));
    talk(&b, &a, |line| two.exec(&b, line));
    holds_exactly(&one.node, &[&a]);
    holds_exactly(&two.node, &[&b]);
    one.remove_pod(&a.id).unwrap();
    holds_exactly(&one.node, &[]);
    holds_exactly(&two.node, &[&b]);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn pods_that_containerd_starts_at_once_have_addresses_of_their_own() {
    let lab = Lab::up("--nodes 1 --pods 0").unwrap();
    let containerd = Containerd::start(&lab.name, lab.node("n1").unwrap().clone()).unwrap();
    for round in 0..2 {
        let pods: Vec<Pod> =
            at_once((0..8).map(|number| format!("r{round}p{number}")), |name| containerd.run_pod(&name));
        holds_exactly(&containerd.node, &pods.iter().collect::<Vec<_>>());
        talk(&pods[0], &pods[7], |line| containerd.exec(&pods[0], line));
        at_once(pods.iter(), |pod| containerd.remove_pod(&pod.id));
        holds_exactly(&containerd.node, &[]);
    }
}

/// Does `work` for all of `things` on threads of their own.
fn at_once<T: Send, R: Send>(
    things: impl Iterator<Item = T>,
    work: impl Fn(T) -> anyhow::Result<R> + Sync,
) -> Vec<R> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = things.map(|thing| scope.spawn(move || work(thing))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect()
    })
}

/// Returns true if a client at `from` that connects to `to` talks to a server in `pod` at `port`.
fn reaches(from: &Host, to: SocketAddr, pod: &Host, port: u16) -> anyhow::Result<()> {
    let listener = pod.netns.run(|| Ok(TcpListener::bind((pod.address, port))?))?;
    let serving = thread::spawn(move || listener.accept()?.0.write_all(b"pod"));
    let mut said = String::new();
    from.netns.run(|| {
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(3))?;
        stream.set_read_timeout(Some(Duration::from_secs(3)))?;
        Ok(stream.read_to_string(&mut said)?)
    })?;
    serving.join().unwrap()?;
    assert_eq!(said, "pod");
    Ok(())
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_port_of_the_node_leads_to_the_pod_that_has_it_through_containerd_and_portmap() {
    let lab = Lab::up("--nodes 1 --pods 0").unwrap();
    let node = lab.node("n1").unwrap().clone();
    let portmap = json!({"type": "portmap", "snat": true, "capabilities": {"portMappings": true}});
    chain(&node, &portmap).unwrap();
    let containerd = Containerd::start(&lab.name, node).unwrap();
    let pod = containerd.run_pod_with("web", &[(18090, 80)]).unwrap();
    for v6 in [false, true] {
        let host = lab.must_host("n1", v6).unwrap();
        let to = SocketAddr::new(host.address, 18090);
        for from in ["out", "n1"] {
            let from = lab.must_host(from, v6).unwrap();
            reaches(&from, to, &pod.host(v6).unwrap(), 80)
                .unwrap_or_else(|error| panic!("{} to {to}: {error:#}", from.name));
        }
    }
    holds_exactly(&containerd.node, &[&pod]);
    containerd.remove_pod(&pod.id).unwrap();
    holds_exactly(&containerd.node, &[]);
    let rules = tool::run(&containerd.node.open().unwrap(), "iptables-save").unwrap();
    assert!(!rules.contains("18090"), "{rules}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn containers_of_podman_talk_and_leave_nothing() {
    let lab = Lab::up("--nodes 1 --pods 0").unwrap();
    let node = lab.node("n1").unwrap().clone();
    let mut podman = Podman::start(&lab.name, node.clone()).unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| podman.run_pod(name).unwrap());
    talk(&a, &b, |line| podman.exec(&a, line));
    holds_exactly(&node, &[&a, &b, &c]);
    // podman's monitor takes the network down when the container ends.
    kill(&c);
    holds_exactly(&node, &[&a, &b]);
    talk(&b, &a, |line| podman.exec(&b, line));
    for pod in [&a, &b, &c] {
        podman.remove_pod(pod).unwrap();
        assert!(!pod.netns.exists(), "{} is left", pod.netns.display());
    }
    holds_exactly(&node, &[]);
}
