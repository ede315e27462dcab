//! containerd (through CRI) and podman (with its CNI backend), as Debian ships them, with pods on naru.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking, their helpers too")]

use std::{net::IpAddr, time::Duration};

use naru_e2e::{
    lab::Lab,
    probe::tcp,
    runtime::{containerd::Containerd, inventory::Inventory, pod::Pod, podman::Podman},
    tool,
};
use rustix::process::{Pid, Signal, kill_process};

/// A stream each way, both families; `exec` also pings from inside the container.
fn talk(from: &Pod, to: &Pod, exec: impl Fn(&str) -> anyhow::Result<String>) {
    for v6 in [false, true] {
        let (client, server) = (from.host(v6).unwrap(), to.host(v6).unwrap());
        let said = exec(&format!("ping -c 2 -W 2 {}", server.address)).unwrap();
        assert!(said.contains(" 0% packet loss"), "{said}");
        let report = tcp::stream(&client, &server, 8 << 20, 8 << 20).unwrap();
        assert_eq!(report.peer.ip(), client.address, "nothing translates addresses between pods");
    }
}

fn addresses<'a>(pods: &[&'a Pod]) -> Vec<&'a [IpAddr]> {
    pods.iter().map(|pod| pod.addresses.as_slice()).collect()
}

/// The node's leases, map entries, routes and veths are those of `pods`. Veths go a moment after their namespaces.
fn holds_exactly(node: &naru_e2e::lab::Node, pods: &[&Pod]) {
    let agrees = || Inventory::of(node)?.must_be_of(addresses(pods));
    tool::holds_within(Duration::from_secs(3), || agrees().is_ok());
    agrees().unwrap();
}

/// Kills the process that the runtime told to be the pod's.
fn kill(pod: &Pod) {
    kill_process(Pid::from_raw(pod.pid).unwrap(), Signal::KILL).unwrap();
}

fn must_see_end(containerd: &Containerd, pod: &Pod) {
    let ended = || containerd.sandboxes().is_ok_and(|(_, ended)| ended.contains(&pod.id));
    assert!(
        tool::holds_within(Duration::from_secs(10), ended),
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
fn late_goodbyes_to_pods_of_before_a_reboot_take_nothing_from_new_ones() {
    let lab = Lab::up("--nodes 1 --pods 0 --no-agent").unwrap();
    let mut containerd = Containerd::start(&lab.name, lab.node("n1").unwrap().clone()).unwrap();
    let old = ["a", "b"].map(|name| containerd.run_pod(name).unwrap());
    containerd.power_off().unwrap();
    rustix::mount::unmount(containerd.node.root.join("bpf"), rustix::mount::UnmountFlags::DETACH).unwrap();
    // The store is still there, as where /run is not a tmpfs: it must know by the boot id that nobody is.
    containerd.node.boot_id = Some("00000000-0000-4000-8000-0000000c0e2e".to_owned());
    containerd.launch().unwrap();
    let new = ["a", "b", "c"].map(|name| containerd.run_pod(name).unwrap());
    let taken = |old: &&Pod| new.iter().any(|new| new.addresses.contains(&old.addresses[0]));
    assert!(old.iter().any(|pod| taken(&pod)), "the goodbyes endanger nobody: {old:?} {new:?}");
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
    let [mut one, mut two] =
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
