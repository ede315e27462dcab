use std::sync::Arc;

use naru_abi::policy::Judgement;
use naru_core::policy::{
    compile::{Compiler, FirstNumbers, Limits},
    model::{self, Cluster, Event, Namespaces, NetworkPolicy, Peer, Pod, PolicyName, Rule, Selector},
    oracle::{self, Answer, Packet},
    tables::{Tables, writes},
};

use crate::limits::pod;
use crate::world::{HERE, Random, addresses, event, packets};

pub const ROOMY: Limits = Limits { peers: 1_000_000, nets: 1_000_000, rules: 1_000_000 };

/// A compiler with the tables that its plans came to.
pub struct Node {
    pub compiler: Compiler,
    pub tables: Tables,
}

impl Node {
    pub fn new(limits: Limits) -> Self {
        Self { compiler: Compiler::new(HERE, limits, FirstNumbers::default()), tables: Tables::default() }
    }

    /// A node that learns all objects at once.
    pub fn of(cluster: &Cluster) -> Self {
        let mut node = Self::new(ROOMY);
        assert!(node.compiler.apply(cluster.events().collect()).is_empty());
        node.carry_out();
        node
    }

    pub fn carry_out(&mut self) {
        let plan = self.compiler.take_plan();
        self.tables.carry_out(&plan);
        let sizes = self.compiler.sizes();
        assert_eq!(self.tables.sizes(), (sizes.peers, sizes.nets, sizes.rules), "sizes are counted right");
    }

    /// Verdict of the tables, with the pod's own address let through as the programs do.
    pub fn passes(&self, pod: &Pod, packet: &Packet) -> bool {
        match self.tables.judge(&pod.uid, packet) {
            None => true,
            Some(Judgement::Accept(_)) => true,
            Some(_) if pod.addresses.contains(&packet.peer) => true,
            Some(Judgement::Deny(_)) => false,
            Some(Judgement::Incomplete) => panic!("{} has rules that are not there: {packet:?}", pod.uid),
        }
    }

    /// The same where a pod's rules may not be there, and nothing passes then.
    pub fn would_pass(&self, pod: &Pod, packet: &Packet) -> bool {
        self.tables.judge(&pod.uid, packet) != Some(Judgement::Incomplete) && self.passes(pod, packet)
    }

    /// Holds every packet of every pod of this node against the oracle; counts allowed, denied and others.
    pub fn check(&self, packets: &[Packet], seed: u64) -> [usize; 3] {
        let cluster = self.compiler.cluster();
        let mut counts = [0; 3];
        for pod in &locals(cluster) {
            for packet in packets {
                let wanted = oracle::judge(cluster, pod, packet);
                let found = self.passes(pod, packet);
                assert_eq!(found, wanted.passes(), "seed {seed}: {pod:?} {packet:?} {wanted:?} {cluster:#?}");
                self.check_rule(pod, packet, &wanted, seed);
                counts[match wanted {
                    Answer::Allowed(_) => 0,
                    Answer::Denied(_) => 1,
                    Answer::NotIsolated | Answer::Itself => 2,
                }] += 1;
            }
        }
        counts
    }

    /// The rule that the tables name allows the packet: it is the one of the oracle, or a wider one.
    fn check_rule(&self, pod: &Pod, packet: &Packet, wanted: &Answer, seed: u64) {
        let judged = self.tables.judge(&pod.uid, packet);
        assert_eq!(judged.is_none(), *wanted == Answer::NotIsolated, "seed {seed}: {pod:?} {packet:?}");
        if let (Some(Judgement::Accept(rule)), Answer::Allowed(name)) = (judged, wanted) {
            let named = self.compiler.rule(rule).expect("the rule has a name");
            assert_eq!(named.direction, name.direction, "seed {seed}");
            let isolating = oracle::isolating(self.compiler.cluster(), pod, packet.direction);
            assert!(
                isolating.into_iter().any(|policy| policy.name == named.policy),
                "seed {seed}: {named:?}"
            );
        }
    }
}

pub fn locals(cluster: &Cluster) -> Vec<Arc<Pod>> {
    cluster.pods.values().filter(|pod| pod.node == HERE && pod.is_member()).cloned().collect()
}

fn sample(random: &mut Random, packets: &[Packet], count: usize) -> Vec<Packet> {
    (0..count).map(|_| random.pick(packets)).collect()
}

fn many_events(random: &mut Random, count: u64) -> Vec<Event> {
    (0..count).map(|claim| event(random, claim)).collect()
}

#[test]
fn the_tables_say_what_the_objects_say_about_a_million_packets() {
    let (all, mut judged, mut seed) = (packets(&addresses()), [0; 3], 0);
    while judged.iter().sum::<usize>() < 1_000_000 {
        seed += 1;
        let mut random = Random(seed);
        let mut node = Node::new(ROOMY);
        assert!(node.compiler.apply(many_events(&mut random, 60)).is_empty());
        node.carry_out();
        let counts = node.check(&all, seed);
        judged.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    let [allowed, denied, others] = judged;
    println!("{allowed} packets allowed, {denied} denied, {others} not judged, over {seed} clusters");
    assert!(judged.iter().all(|count| *count > 100_000), "every answer is given often: {judged:?}");
}

#[test]
fn after_any_events_the_tables_say_what_a_full_build_says() {
    let all = packets(&addresses());
    for seed in 1..=12 {
        let mut random = Random(seed);
        let mut node = Node::new(ROOMY);
        for step in 0..60 {
            let count = 1 + random.below(3);
            let events = (0..count).map(|_| event(&mut random, step)).collect();
            assert!(node.compiler.apply(events).is_empty());
            node.carry_out();
            if random.one_in(4) {
                node.compiler.collect();
                node.carry_out();
            }
            node.check(&sample(&mut random, &all, 60), seed);
        }
        node.compiler.collect();
        node.carry_out();
        node.check(&sample(&mut random, &all, 400), seed);
        let fresh = Node::of(node.compiler.cluster());
        assert_eq!(fresh.tables.sizes(), node.tables.sizes(), "seed {seed}: nothing is left behind");
        fresh.check(&sample(&mut random, &all, 200), seed);
    }
}

#[test]
fn at_every_write_a_packet_is_judged_by_the_objects_before_or_after() {
    let all = packets(&addresses());
    for seed in 100..130 {
        let mut random = Random(seed);
        let mut node = Node::new(ROOMY);
        node.compiler.apply(many_events(&mut random, 40));
        node.carry_out();
        for step in 0..12 {
            let before = node.compiler.cluster().clone();
            let asked = sample(&mut random, &all, 40);
            node.compiler.apply(vec![event(&mut random, 1_000 + step)]);
            step_by_step(&mut node, &before, &asked, seed);
            let before = node.compiler.cluster().clone();
            node.compiler.collect();
            step_by_step(&mut node, &before, &asked, seed);
        }
    }
}

#[test]
fn a_pod_keeps_its_rights_at_every_write_when_the_block_around_it_goes() {
    let all_pods =
        Peer::Pods { namespaces: Namespaces::Selected(Selector::EVERYTHING), pods: Selector::EVERYTHING };
    let rule = Rule { peers: vec![all_pods], ports: Vec::new() };
    // A prefix inside the node's block stays when that goes, with another class.
    let part = Peer::Block(model::Block::new("10.0.0.0/30".parse().unwrap(), &[]));
    let port = model::Port { protocol: model::Protocol::Sctp, ports: model::Ports::Range(1, 1) };
    let inner = Rule { peers: vec![part], ports: vec![port] };
    let name = PolicyName { namespace: "shop".to_owned(), name: "pods".to_owned() };
    let policy = NetworkPolicy {
        name: name.clone(),
        pods: Selector::EVERYTHING,
        ingress: Some(vec![rule, inner]),
        egress: None,
    };
    let block = model::Node { addresses: Vec::new(), blocks: vec!["10.0.0.0/28".parse().unwrap()] };
    let pods = [pod("web", "web", HERE, "10.0.1.1", 1), pod("one", "client", "node2", "10.0.0.2", 2)];
    let others =
        [Event::Policy(name, Some(Arc::new(policy))), Event::Node("node2".to_owned(), Some(block.clone()))];
    let mut node = Node::new(ROOMY);
    node.compiler.apply(pods.into_iter().chain(others).collect());
    node.carry_out();
    assert_eq!(node.compiler.sizes().peers, 1, "the pod outside of the block alone has an entry");
    for event in [None, Some(block)] {
        let before = node.compiler.cluster().clone();
        node.compiler.apply(vec![Event::Node("node2".to_owned(), event)]);
        step_by_step(&mut node, &before, &packets(&["10.0.0.2".parse().unwrap()]), 0);
    }
}

/// Carries out the plan write by write.
fn step_by_step(node: &mut Node, before: &Cluster, packets: &[Packet], seed: u64) {
    let plan = node.compiler.take_plan();
    let after = node.compiler.cluster();
    let pods = locals(after).into_iter().filter(|pod| before.pods.get(&pod.uid) == Some(pod));
    let judged = |pod: &Arc<Pod>, packet: &Packet| {
        let answers = [before, after].map(|cluster| oracle::judge(cluster, pod, packet).passes());
        (pod.clone(), *packet, answers)
    };
    let expected =
        pods.flat_map(|pod| packets.iter().map(move |packet| judged(&pod, packet))).collect::<Vec<_>>();
    for write in writes(&plan) {
        node.tables.write(write.clone());
        for (pod, packet, answers) in &expected {
            let found = node.passes(pod, packet);
            assert!(answers.contains(&found), "seed {seed}: after {write:?} {pod:?} {packet:?} {plan:?}");
        }
    }
}
