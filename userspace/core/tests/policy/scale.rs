//! A node of a large cluster: 1,000 policies, 150,000 peer addresses, one node's pods. Figures are printed.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Instant,
};

use naru_abi::policy::{PeerValue, RulesValue};
use naru_core::policy::{
    compile::{Compiler, FirstNumbers, Plan},
    model::{
        Block, Event, Labels, Namespaces, NetworkPolicy, Node, Peer, Phase, Pod, PolicyName, Port, Ports,
        Protocol, Rule, Selector,
    },
};

use crate::{agreement::ROOMY, world::HERE};

const PODS: u32 = 150_000;
const APPS: u32 = 1_000;

/// Pod number `number` of app `number % APPS`; every 600th is on this node.
fn pod(number: u32) -> Pod {
    let app = format!("app{}", number % APPS);
    let address = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number));
    let labels = [("app", app.as_str()), ("pod-template-hash", "5d59d67564")].into_iter().collect::<Labels>();
    Pod {
        uid: format!("00000000-0000-0000-0000-{number:012}"),
        namespace: format!("team{}", number % 50),
        name: format!("{app}-{number}"),
        labels,
        node: if number.is_multiple_of(601) { HERE.to_owned() } else { format!("node{}", number % 600 + 2) },
        addresses: vec![address],
        host_network: false,
        phase: Phase::Running,
        terminating: false,
        ports: Vec::new(),
        claim: u64::from(number),
    }
}

/// The policy of an app: four other apps of any namespace and a block may reach it.
fn policy(app: u32) -> NetworkPolicy {
    let of_app = |app: u32| Peer::Pods {
        namespaces: Namespaces::Selected(Selector::EVERYTHING),
        pods: Selector::of_labels([("app", format!("app{}", app % APPS))]),
    };
    let peers = vec![
        of_app(app + 1),
        of_app(app + 300),
        of_app(app + 500),
        of_app(app + 800),
        Peer::Block(Block::new(format!("172.16.{}.0/24", app % 250).parse().unwrap(), &[])),
    ];
    let ports = vec![Port { protocol: Protocol::Tcp, ports: Ports::Range(80, 80) }];
    let rule = Rule { peers, ports };
    let name = PolicyName { namespace: format!("team{}", app % 50), name: format!("app{app}") };
    let pods = Selector::of_labels([("app", format!("app{app}"))]);
    NetworkPolicy { name, pods, ingress: Some(vec![rule.clone()]), egress: Some(vec![rule]) }
}

fn objects() -> Vec<Event> {
    let node = |number: u32| {
        let block = Ipv4Addr::from(0x0a00_0000 + number * 256);
        let node = Node { addresses: Vec::new(), blocks: vec![format!("{block}/24").parse().unwrap()] };
        Event::Node(format!("node{number}"), Some(node))
    };
    let pods = (0..PODS).map(pod).map(|pod| Event::Pod(pod.uid.clone(), Some(Arc::new(pod))));
    let policies = (0..APPS).map(policy).map(|it| Event::Policy(it.name.clone(), Some(Arc::new(it))));
    (1..=600).map(node).chain(pods).chain(policies).collect()
}

#[expect(clippy::disallowed_methods, reason = "a figure that is printed")]
fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    println!("{what}: {:?}", start.elapsed());
    result
}

fn one(compiler: &mut Compiler, what: &str, event: Event) -> Plan {
    let plan = timed(what, || {
        assert!(compiler.apply(vec![event]).is_empty());
        compiler.take_plan()
    });
    println!("  {} writes", plan.writes());
    plan
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pod_event_in_a_large_cluster_takes_two_writes_at_most() {
    let events = objects();
    let mut compiler = Compiler::new(HERE, ROOMY, FirstNumbers::default());
    let plan = timed("full build, 1,000 policies, 150,000 addresses", || {
        assert!(compiler.apply(events).is_empty());
        compiler.take_plan()
    });
    // A hash element of the kernel: 48 bytes, key, value, a list link of 8, in steps of the allocator.
    let bytes = plan.peers.len() * (48 + 16 + size_of::<PeerValue>() + 8).next_multiple_of(32)
        + plan.rules.len() * (48 + 16 + size_of::<RulesValue>() + 8).next_multiple_of(64);
    let (peers, nets, rules) = (plan.peers.len(), plan.nets.len(), plan.rules.len());
    println!("{peers} PEERS, {nets} PEER_NETS, {rules} RULES, about {} KB of elements", bytes / 1024);

    let there = pod(5);
    let mut moved = there.clone();
    moved.addresses = vec!["10.200.0.9".parse().unwrap()];
    let of = |pod: &Pod| Event::Pod(pod.uid.clone(), Some(Arc::new(pod.clone())));
    let another_address = one(&mut compiler, "a pod gets another address", of(&moved));
    let gone = one(&mut compiler, "a pod goes", Event::Pod(moved.uid.clone(), None));
    let comes = one(&mut compiler, "a pod comes", of(&there));
    let mut relabelled = there.clone();
    relabelled.labels = [("app", "app6")].into_iter().collect();
    let other_labels = one(&mut compiler, "a pod gets other labels", of(&relabelled));
    let mut here = pod(601);
    here.terminating = true;
    let local = one(&mut compiler, "a pod of this node is being deleted", of(&here));
    for plan in [another_address, gone, comes, other_labels, local] {
        assert!(plan.writes() <= 2, "{plan:?}");
    }
    let changed = NetworkPolicy { egress: None, ..policy(601) };
    one(&mut compiler, "a policy changes", Event::Policy(changed.name.clone(), Some(Arc::new(changed))));
    timed("what nothing refers to goes", || compiler.collect());
    println!("  {} writes", compiler.take_plan().writes());
}
