//! An older ABI is migrated with pods running: no packet is lost, and everything is kept.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod machine;
#[path = "migration/older.rs"]
mod older;
#[path = "migration/traffic.rs"]
mod traffic;

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use machine::{CLUSTER, Machine, pod::Pod};
use naru_abi::{Addr, Outcome};
use naru_bpf::{Flows, Interfaces, Pins, Pods};
use serde_json::json;

/// A Service address, and the ports that are used.
const SERVICE: &str = "10.96.0.1";
const ECHO: u16 = 7000;
/// A port of its own, so that an answer's addresses and ports alone show if it is the Service's.
const SERVED: u16 = 7001;
const STREAM: u16 = 7100;
const NOBODY: u16 = 9;

/// Two nodes, the first with three pods, the second with one.
struct Cluster {
    near: Machine,
    _far: Machine,
    client: Attached,
    server: Attached,
    counted: Attached,
    remote: Attached,
}

/// Everything of a pod's entry that the older version knew: generation, interface, MTU and MAC addresses.
type Entry = (Addr, u64, u32, u32, [u8; 6], [u8; 6]);

struct Attached {
    pod: Pod,
    addresses: Vec<String>,
}

impl Attached {
    fn new(machine: &Machine, name: &str) -> Self {
        let pod = Pod::new(machine, name, json!({}));
        let addresses = pod.add(machine);
        Self { pod, addresses }
    }

    fn at(&self, family: usize, port: u16) -> SocketAddr {
        SocketAddr::new(self.addresses[family].parse().unwrap(), port)
    }

    fn name(&self) -> &str {
        &self.pod.name
    }
}

impl Cluster {
    fn new(routing: &str, attach: &str) -> Self {
        let near = Machine::new();
        let cluster = CLUSTER.replace("routing = \"tunnel\"\n", routing);
        near.write_cluster(&cluster);
        // The uplink's other end goes to the second machine first: what hangs on it would not outlast that.
        let far = older::neighbour(&near, &cluster);
        near.ok(&["init", "--attach", attach]);
        let [client, server, counted] =
            ["client", "server", "counted"].map(|name| Attached::new(&near, name));
        let remote = Attached::new(&far, "remote");
        let cluster = Self { near, _far: far, client, server, counted, remote };
        cluster.serve();
        let answered = |address: &String| cluster.client.pod.can_ping(address);
        let deaf = cluster.remote.addresses.iter().find(|address| !answered(address));
        assert_eq!(deaf, None, "the nodes must reach each other before anything is tried");
        cluster
    }

    /// The Service: rewritten by the node's stack, as kube-proxy does.
    fn serve(&self) {
        self.near.tool("nft add table ip svc");
        self.near.tool("nft add chain ip svc pre { type nat hook prerouting priority dstnat ; }");
        let to = &self.server.addresses[0];
        self.near.tool(&format!(
            "nft add rule ip svc pre ip daddr {SERVICE} udp dport {ECHO} dnat to {to}:{SERVED}"
        ));
    }

    fn pins(&self) -> Pins {
        Pins::at(self.near.pins())
    }

    /// The packets that the pod sent to other pods, by the datapath's own counters.
    fn counted(&self) -> u64 {
        let pods = Pods::open(&self.pins()).unwrap();
        let address: std::net::IpAddr = self.counted.addresses[0].parse().unwrap();
        let ifindex = pods.get(address).unwrap().unwrap().ifindex;
        let totals = Interfaces::open(&self.pins()).unwrap().counters(ifindex).unwrap().unwrap();
        let is_sent = |outcome: &Outcome| matches!(outcome.label(), "peer" | "too-big");
        totals
            .outcomes
            .iter()
            .filter(|(outcome, _)| is_sent(outcome))
            .map(|(_, counter)| counter.packets)
            .sum()
    }

    fn entries(&self) -> Vec<Entry> {
        let entries = Pods::open(&self.pins()).unwrap().entries().unwrap();
        let mut all: Vec<_> = entries
            .into_iter()
            .map(|(address, value)| {
                (address, value.generation, value.ifindex, value.mtu, value.pod_mac, value.host_mac)
            })
            .collect();
        all.sort();
        all
    }
}

/// The account of the traffic during `work`.
#[derive(Debug, Default)]
struct Account {
    asked: u64,
    lost: Vec<(SocketAddr, u64)>,
    streamed: Vec<(u64, u64)>,
    counted: u64,
}

/// Runs every kind of traffic while `work` is done.
fn under_traffic(cluster: &Cluster, work: impl FnOnce()) -> Account {
    let (stop, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let (client, server, remote) = (&cluster.client, &cluster.server, &cluster.remote);
    let (stop, asked) = (&stop, &asked);
    let ended = AtomicBool::new(false);
    let ended = &ended;
    thread::scope(|scope| {
        for (pod, port) in [(server, ECHO), (server, SERVED), (remote, ECHO)] {
            scope.spawn(move || traffic::echo(pod.name(), port, ended));
        }
        // Who asks before anybody listens is refused.
        thread::sleep(Duration::from_millis(300));
        let to_all = [
            SocketAddr::new(SERVICE.parse().unwrap(), ECHO),
            server.at(0, ECHO),
            server.at(1, ECHO),
            remote.at(0, ECHO),
            remote.at(1, ECHO),
        ];
        let questions = to_all.map(|to| scope.spawn(move || traffic::ask(client.name(), to, stop, asked)));
        let ends = [(server, 0), (remote, 1)].map(|(pod, number)| {
            let receiver = scope.spawn(move || traffic::receive(pod.name(), STREAM + number));
            let to = pod.at(usize::from(number), STREAM + number);
            (scope.spawn(move || traffic::send(client.name(), to, stop)), receiver)
        });
        let counter = scope.spawn(|| traffic::count(cluster.counted.name(), server.at(0, NOBODY), stop));
        // Under way before anything happens, and on for a while after it.
        let before = Instant::now();
        while asked.load(Ordering::Relaxed) < 500 {
            assert!(before.elapsed() < Duration::from_secs(30), "{asked:?} questions");
            thread::sleep(Duration::from_millis(10));
        }
        work();
        thread::sleep(Duration::from_millis(500));
        stop.store(true, Ordering::Relaxed);
        let lost = questions.into_iter().flat_map(|question| question.join().unwrap()).collect();
        let streamed =
            ends.map(|(sender, receiver)| (sender.join().unwrap(), receiver.join().unwrap())).to_vec();
        let counted = counter.join().unwrap();
        ended.store(true, Ordering::Relaxed);
        Account { asked: asked.load(Ordering::Relaxed), lost, streamed, counted }
    })
}

fn migrate_under_traffic(routing: &str, attach: &str) {
    let cluster = Cluster::new(routing, attach);
    let before = (cluster.entries(), cluster.near.entries(), cluster.near.kernel_routes());
    older::turn_back(&cluster.near);
    assert!(older::pins(&cluster.near).map("PODS").exists() && !cluster.near.pins().exists());
    let mut flows = 0;
    let account = under_traffic(&cluster, || {
        flows = older::flows(&cluster.near);
        let started = Instant::now();
        cluster.near.ok(&["init"]);
        println!("{routing:?} {attach}: migrated in {:?}", started.elapsed());
    });
    println!("{account:?}, {flows} flows recorded before");
    assert!(account.asked > 500 && account.lost.is_empty(), "{account:?}");
    assert!(account.streamed.iter().all(|(sent, received)| sent == received && *sent > 0), "{account:?}");
    assert_eq!(cluster.counted(), account.counted, "every packet is counted once");
    assert!(!older::pins(&cluster.near).root().exists(), "the old pins are gone");
    assert_eq!((cluster.entries(), cluster.near.entries(), cluster.near.kernel_routes()), before);
    assert!(flows > 0 && Flows::open(&cluster.pins()).unwrap().entries().unwrap().len() >= flows);
    let again = cluster.near.ok(&["init"]);
    assert!(again.contains("0 maps created, 0 programs loaded, 0 entries and routes changed"), "{again}");
    assert!(!cluster.near.ok(&["status"]).contains("not attached"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_older_abi_is_migrated_under_traffic_through_the_tunnel_device_and_no_packet_is_lost() {
    migrate_under_traffic("routing = \"tunnel\"\nencapsulation = \"device\"\n", "tcx");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_older_abi_is_migrated_under_traffic_with_own_encapsulation_and_no_packet_is_lost() {
    migrate_under_traffic("routing = \"tunnel\"\n", "tcx");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_older_abi_is_migrated_under_traffic_with_filters_and_direct_routing_and_no_packet_is_lost() {
    migrate_under_traffic("", "clsact");
}

/// Ends an init with SIGKILL after that time.
fn killed_init(machine: &Machine, after: Duration) {
    let mut child = machine.naru(&["init"]).spawn().unwrap();
    thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_migration_that_is_killed_anywhere_leaves_pods_connected_and_the_next_init_goes_on() {
    let cluster = Cluster::new("routing = \"tunnel\"\n", "tcx");
    let before = (cluster.entries(), cluster.near.entries(), cluster.near.kernel_routes());
    let all = [&cluster.server, &cluster.remote];
    let is_connected = || all.iter().flat_map(|pod| &pod.addresses).all(|to| cluster.client.pod.can_ping(to));
    for round in 0..3_u64 {
        older::turn_back(&cluster.near);
        let started = Instant::now();
        cluster.near.ok(&["init"]);
        let whole = started.elapsed();
        older::turn_back(&cluster.near);
        let mut halfway = 0;
        for part in 1..8_u32 {
            // Other places in each round.
            killed_init(&cluster.near, whole * part / 8 + Duration::from_millis(3 * round));
            assert!(is_connected(), "round {round}, killed at {part} eighths of {whole:?}");
            halfway +=
                u32::from(older::pins(&cluster.near).map("PODS").exists() && cluster.near.pins().exists());
        }
        println!("round {round}: {halfway} of 7 were halfway, a whole one takes {whole:?}");
        cluster.near.ok(&["init"]);
        assert_eq!((cluster.entries(), cluster.near.entries(), cluster.near.kernel_routes()), before);
        assert!(!older::pins(&cluster.near).root().exists());
        let marks = ["swapping", "settled"].map(|mark| cluster.near.pins().join(mark).exists());
        assert_eq!(marks, [false, false]);
        assert!(is_connected());
    }
}
