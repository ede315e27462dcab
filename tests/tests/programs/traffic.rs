//! Real packets between the namespaces of pods.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use naru_abi::{Hook, Outcome, Verdict};
use naru_bpf::{AttachMode, Datapath, attach_pod};
use naru_e2e::{
    netns::{Netns, Scratch},
    probe::Host,
    tool,
};

use crate::{
    node::{Node, ip, unique},
    world::{A, B, FAMILIES, Family, POD_MTU, Pod, add_pod, add_routes},
};

/// A port for one exchange: a process being started elsewhere may hold a closed socket open for a moment.
fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(4242);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A pod with a namespace, an interface as the plugin makes it, and no permanent neighbour.
pub struct LivePod {
    pub pod: Pod,
    scratch: Scratch,
}

impl LivePod {
    pub fn new(node: &Node, pod: Pod) -> Self {
        let scratch = Scratch::create(&unique()).unwrap();
        let name = scratch.netns().name();
        let (mac, host_mac, interface) = (text(pod.mac()), text(pod.host_mac()), pod.interface);
        node.ip(&format!(
            "link add name {interface} address {host_mac} mtu {POD_MTU} type veth peer name eth0 address {mac} mtu \
             {POD_MTU} netns {name}"
        ));
        add_pod(node, pod);
        node.run(|| attach_pod(&node.pins, interface, AttachMode::Clsact).unwrap());
        // No address of its own, so that the host end sends nothing of its own.
        node.ip(&format!("link set {interface} addrgenmode none"));
        node.ip(&format!("link set {interface} up"));
        let live = Self { pod, scratch };
        live.address();
        wait_for_queue(node.netns(), interface);
        wait_for_queue(live.netns(), "eth0");
        live
    }

    fn address(&self) {
        let netns = self.netns();
        ip(netns, "link set lo up");
        ip(netns, "link set eth0 up");
        ip(netns, &format!("address add {}/32 dev eth0", self.pod.address(Family::V4)));
        ip(netns, &format!("address add {}/128 dev eth0 nodad", self.pod.address(Family::V6)));
        ip(netns, "route add 169.254.1.1 dev eth0 scope link");
        ip(netns, "route add default via 169.254.1.1 dev eth0 onlink");
        ip(netns, "route add default via fe80::1 dev eth0");
        // The kernel makes even a NODAD address its own only later, from a work queue.
        let own = format!("local {} ", self.pod.address(Family::V6));
        let local = || tool::run(netns, "ip -6 route show table local").unwrap();
        assert!(tool::holds_within(Duration::from_secs(20), || local().contains(&own)), "{own}: {}", local());
    }

    pub fn netns(&self) -> &Netns {
        self.scratch.netns()
    }

    /// The pod as probes take it.
    pub fn host(&self, family: Family) -> Host {
        let address = self.pod.address(family);
        Host { name: address.to_string(), netns: self.netns().clone(), address }
    }
}

/// A new device loses what it is given until the kernel's link watch gave it a queue: a second later, more on a busy
/// machine.
pub fn wait_for_queue(netns: &Netns, device: &str) {
    let link = || tool::run(netns, &format!("ip link show dev {device}")).unwrap();
    let has_queue = |link: String| link.contains(" state UP ") && !link.contains(" qdisc noop ");
    assert!(tool::holds_within(Duration::from_secs(20), || has_queue(link())), "{}", link());
}

pub fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Answers one datagram in `netns` with its own bytes.
fn echo(netns: &Netns, address: IpAddr, port: u16) -> naru_e2e::netns::Task<SocketAddr> {
    let (ready, is_ready) = std::sync::mpsc::channel();
    let task = netns.spawn(move || {
        let socket = bind(address, port);
        ready.send(()).unwrap();
        let mut bytes = [0; 2000];
        let (length, from) = socket.recv_from(&mut bytes)?;
        socket.send_to(&bytes[..length], from)?;
        Ok(from)
    });
    is_ready.recv().unwrap();
    task
}

pub fn bind(address: IpAddr, port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((address, port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    socket
}

/// Sends a datagram of `length` bytes from one pod and waits for its echo from the other.
fn exchange(from: &LivePod, to: &LivePod, family: Family, length: usize) {
    let (own, other) = (from.pod.address(family), to.pod.address(family));
    let port = port();
    let echo = echo(to.netns(), other, port);
    let sent: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
    let received = from
        .netns()
        .run(|| {
            let socket = bind(own, 0);
            socket.send_to(&sent, (other, port))?;
            let mut bytes = vec![0; length + 1];
            let read = socket.recv(&mut bytes)?;
            Ok(bytes[..read].to_vec())
        })
        .unwrap_or_else(|error| panic!("{own} to {other}, {length} bytes: {error:#}"));
    assert_eq!(received, sent);
    assert_eq!(echo.join().unwrap().ip(), own);
}

fn count(datapath: &Datapath, hook: Hook, outcome: impl Into<Outcome>) -> u64 {
    datapath.stats().unwrap().get(hook, outcome.into()).unwrap().packets
}

/// Packets that left the fast path at `hook`.
pub fn left(datapath: &Datapath, hook: Hook) -> u64 {
    let totals = datapath.stats().unwrap().totals().unwrap();
    let stack = |outcome| matches!(outcome, Outcome::Stack(_));
    totals
        .iter()
        .filter(|total| total.hook == hook && stack(total.outcome))
        .map(|total| total.counter.packets)
        .sum()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn two_pods_talk_through_redirect_peer_and_find_their_gateway_by_its_answer() {
    let node = Node::new();
    add_routes(&node, |family| family);
    let (a, b) = (LivePod::new(&node, A), LivePod::new(&node, B));
    let datapath = node.datapath();
    for family in FAMILIES {
        let before = count(&datapath, Hook::FromPod, Verdict::Peer);
        exchange(&a, &b, family, 100);
        // Three fragments each way.
        exchange(&a, &b, family, 1900);
        let peers = count(&datapath, Hook::FromPod, Verdict::Peer) - before;
        assert!(peers >= 6, "{family:?}: {peers} packets by redirect_peer");
    }
    assert!(
        count(&datapath, Hook::FromPod, Verdict::Answer) >= 4,
        "each pod asked for the gateway in each family"
    );
    assert_eq!(left(&datapath, Hook::FromPod), 0);
    let interfaces = datapath.interfaces().unwrap();
    let received =
        |pod: &LivePod| interfaces.counters(node.ifindex(pod.pod.interface)).unwrap().unwrap().rx.packets;
    let handed =
        count(&datapath, Hook::FromPod, Verdict::Peer) + count(&datapath, Hook::ToPod, Verdict::Deliver);
    assert_eq!(received(&a) + received(&b), handed);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_change_of_either_mac_under_traffic_breaks_nothing() {
    let node = Node::new();
    add_routes(&node, |family| family);
    let (a, b) = (LivePod::new(&node, A), LivePod::new(&node, B));
    FAMILIES.iter().for_each(|family| exchange(&a, &b, *family, 10));
    node.ip("link set pod1 address 02:00:00:00:77:01");
    FAMILIES.iter().for_each(|family| exchange(&a, &b, *family, 10));
    ip(b.netns(), "link set eth0 address 02:00:00:00:77:02");
    FAMILIES.iter().for_each(|family| exchange(&a, &b, *family, 10));
    FAMILIES.iter().for_each(|family| exchange(&b, &a, *family, 10));
    let pods = node.datapath().pods().unwrap();
    for family in FAMILIES {
        let learned = pods.get(B.address(family)).unwrap().unwrap().pod_mac;
        assert_eq!(learned, [2, 0, 0, 0, 0x77, 2], "{family:?}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_node_reaches_a_pod_whose_mac_it_does_not_know() {
    let node = Node::new();
    add_routes(&node, |family| family);
    let a = LivePod::new(&node, A);
    node.ip("address add 192.0.2.1/32 dev lo");
    node.ip("address add 2001:db8::1/128 dev lo");
    for family in FAMILIES {
        let (pod, own) = (A.address(family), family.local_node());
        let length = if family == Family::V4 { 32 } else { 128 };
        node.ip(&format!("route add {pod}/{length} dev pod1 src {own}"));
        node.ip(&format!("neigh replace {pod} lladdr 02:00:00:00:66:66 dev pod1 nud permanent"));
        tool::run(node.netns(), &format!("ping -n -c 3 -i 0.1 -W 2 {pod}")).unwrap();
    }
    let datapath = node.datapath();
    assert!(count(&datapath, Hook::ToPod, Verdict::Deliver) >= 6);
    assert!(count(&datapath, Hook::FromPod, naru_abi::StackReason::LocalNode) >= 6);
    drop(a);
}
