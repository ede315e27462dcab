//! Policies under real traffic: the pod's own socket, and the node's own processes.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use naru_abi::{DropReason, Hook, Outcome};
use naru_core::policy::compile::Isolation;
use naru_e2e::tool;
use naru_node::policy::Enforcement;

use crate::{
    node::{Node, add_policies},
    policy::{dns, node},
    traffic::{LivePod, text},
    world::{A, B, FAMILIES, Family, Pod, add_pod, add_routes},
};

const PORT: u16 = 53;
const SOON: Duration = Duration::from_millis(700);
const LATER: Duration = Duration::from_secs(20);

fn addresses(pod: Pod) -> [IpAddr; 2] {
    FAMILIES.map(|family| pod.address(family))
}

fn isolate(node: &Node, pod: Pod, subject: u32) {
    let isolation = Isolation { subject, ingress: subject != 0, egress: subject != 0 };
    node.run(|| Enforcement::open(&node.pins).unwrap().isolate(&addresses(pod), isolation).unwrap());
}

fn dropped(node: &Node, hook: Hook, reason: DropReason) -> u64 {
    node.datapath().stats().unwrap().get(hook, Outcome::Drop(reason)).unwrap().packets
}

/// A connection from one pod to the other.
struct Connection {
    client: TcpStream,
    server: TcpStream,
    _listener: TcpListener,
}

impl Connection {
    fn open(from: &LivePod, to: &LivePod, family: Family) -> Self {
        let target = SocketAddr::from((to.pod.address(family), PORT));
        let listener = to.netns().run(|| Ok(TcpListener::bind(target)?)).unwrap();
        let client = from.netns().run(|| Ok(TcpStream::connect_timeout(&target, LATER)?)).unwrap();
        let server = listener.accept().unwrap().0;
        Self { client, server, _listener: listener }
    }

    /// Returns true if a byte comes over in each direction in time.
    fn works(&mut self, within: Duration) -> bool {
        fn comes_over(from: &mut TcpStream, to: &mut TcpStream, within: Duration) -> bool {
            to.set_read_timeout(Some(within)).unwrap();
            from.write_all(b"n").unwrap();
            to.read_exact(&mut [0]).is_ok()
        }
        comes_over(&mut self.client, &mut self.server, within)
            && comes_over(&mut self.server, &mut self.client, within)
    }
}

/// A node with two live pods, of which A may open connections to port 53 of B, and nobody anything else.
fn scene() -> (Node, [LivePod; 2]) {
    let node = Node::new();
    add_policies(&node.pins);
    add_routes(&node, |family| family);
    let pods = [LivePod::new(&node, A), LivePod::new(&node, B)];
    dns(&node);
    isolate(&node, A, 1);
    isolate(&node, B, 2);
    (node, pods)
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_tcp_connection_lives_by_its_socket_when_every_entry_of_the_table_is_gone() {
    let (node, [a, b]) = scene();
    for family in FAMILIES {
        let mut connection = Connection::open(&a, &b, family);
        assert!(connection.works(LATER));
        for _ in 0..3 {
            let mut policies = node.datapath().policies().unwrap();
            assert!(policies.keep_states_of(|_| false).unwrap() > 0, "{family:?}");
            assert!(connection.works(SOON), "{family:?}: without the table");
        }
        assert_eq!(dropped(&node, Hook::FromPod, DropReason::PolicyEgress), 0);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_revoked_rule_cuts_a_running_connection_and_when_it_is_back_the_connection_goes_on() {
    let (node, [a, b]) = scene();
    for family in FAMILIES {
        let mut connection = Connection::open(&a, &b, family);
        assert!(connection.works(LATER));
        isolate(&node, B, 3);
        assert!(!connection.works(SOON), "{family:?}: revoked");
        isolate(&node, B, 2);
        assert!(connection.works(LATER), "{family:?}: back");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_connection_that_is_older_than_the_isolation_of_its_ends_goes_on_if_the_rules_allow_it() {
    let (node, [a, b]) = scene();
    for family in FAMILIES {
        for pod in [A, B] {
            isolate(&node, pod, 0);
        }
        let mut connection = Connection::open(&a, &b, family);
        assert!(connection.works(LATER));
        isolate(&node, A, 1);
        isolate(&node, B, 2);
        assert!(connection.works(SOON), "{family:?}: allowed");
        isolate(&node, A, 3);
        assert!(!connection.works(SOON), "{family:?}: forbidden");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_nodes_own_processes_reach_a_closed_pod_which_reaches_nobody() {
    let node = Node::new();
    add_policies(&node.pins);
    add_routes(&node, |family| family);
    let a = LivePod::new(&node, A);
    node.ip("address add 192.0.2.1/32 dev lo");
    node.ip("address add 2001:db8::1/128 dev lo");
    node.run(|| Enforcement::open(&node.pins).unwrap().close(&addresses(A)).unwrap());
    for family in FAMILIES {
        let (pod, own) = (A.address(family), family.local_node());
        let length = if family == Family::V4 { 32 } else { 128 };
        node.ip(&format!("route add {pod}/{length} dev pod1 src {own}"));
        let mac = text(A.mac());
        node.ip(&format!("neigh replace {pod} lladdr {mac} dev pod1 nud permanent"));
        tool::run(node.netns(), &format!("ping -n -c 3 -i 0.1 -W 2 {pod}")).unwrap();
        let before = dropped(&node, Hook::FromPod, DropReason::PolicyEgress);
        assert!(tool::run(a.netns(), &format!("ping -n -c 2 -i 0.1 -W 1 {own}")).is_err(), "{family:?}");
        assert_eq!(dropped(&node, Hook::FromPod, DropReason::PolicyEgress) - before, 2, "{family:?}");
        let target = SocketAddr::from((pod, PORT));
        let listener = a.netns().run(|| Ok(TcpListener::bind(target)?)).unwrap();
        let client = node.run(|| TcpStream::connect_timeout(&target, LATER).unwrap());
        let server = listener.accept().unwrap().0;
        let mut connection = Connection { client, server, _listener: listener };
        assert!(connection.works(SOON), "{family:?}: a probe");
        assert!(node.datapath().policies().unwrap().keep_states_of(|_| false).unwrap() > 0);
        assert!(connection.works(SOON), "{family:?}: a probe without the table");
    }
    assert_eq!(dropped(&node, Hook::ToPod, DropReason::PolicyIngress), 0);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pod_that_goes_while_it_is_isolated_leaves_no_entry_behind() {
    let node = node();
    add_policies(&node.pins);
    let all = addresses(A);
    let ifindex = node.ifindex(A.interface);
    let mut enforcement = node.run(|| Enforcement::open(&node.pins).unwrap());
    let datapath = node.datapath();
    let (mut pods, mut interfaces) = (datapath.pods().unwrap(), datapath.interfaces().unwrap());
    for round in 0..300 {
        add_pod(&node, A);
        let (begun, ended) = (Barrier::new(2), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                begun.wait();
                while !ended.load(Ordering::Relaxed) {
                    let isolation = Isolation { subject: 1 + round % 2, ingress: true, egress: true };
                    enforcement.isolate(&all, isolation).unwrap();
                }
            });
            begun.wait();
            std::thread::sleep(Duration::from_micros(u64::from(round) * 7));
            interfaces.remove(ifindex).unwrap();
            all.iter().for_each(|address| assert!(pods.delete(*address).unwrap()));
            std::thread::sleep(Duration::from_millis(1));
            ended.store(true, Ordering::Relaxed);
        });
        for address in &all {
            assert_eq!(pods.get(*address).unwrap(), None, "{address} in round {round}");
        }
        assert_eq!(interfaces.get(ifindex).unwrap(), None, "round {round}");
    }
}
