//! A cluster of two nodes with pods of three namespaces, dual stack, and a few words in which cases ask about it.

use std::{net::IpAddr, sync::Arc};

use naru_abi::policy::{Direction, Judgement};
use naru_cluster::policies::Objects;
use naru_core::policy::{
    compile::{Compiler, FirstNumbers, Limits},
    explain::Explanation,
    model::{Cluster, Event, Node, Pod},
    oracle::{self, Packet},
    tables::Tables,
};

/// The objects without policies. The pods of node2 are judged there; here only those of node1 are.
const OBJECTS: &str = r"
kind: Namespace
metadata: {name: shop, labels: {team: a}}
---
kind: Namespace
metadata: {name: bank, labels: {team: b, secure: 'yes'}}
---
kind: Namespace
metadata: {name: farm}
---
kind: Pod
metadata: {namespace: shop, name: web, labels: {app: web, tier: front}}
spec:
  nodeName: node1
  initContainers:
  - {name: setup, ports: [{name: setup, containerPort: 7000}]}
  - {name: proxy, restartPolicy: Always, ports: [{name: proxy, containerPort: 15001}]}
  containers:
  - {name: web, ports: [{name: http, containerPort: 8080}, {name: dns, containerPort: 53, protocol: UDP}]}
  - {name: dns, ports: [{name: dns, containerPort: 5353}]}
status: {phase: Running, podIP: 10.0.1.1, podIPs: [{ip: 10.0.1.1}, {ip: 'fd00:0:0:1::1'}]}
---
kind: Pod
metadata: {namespace: shop, name: db, labels: {app: db}}
spec: {nodeName: node1, containers: [{name: db, ports: [{name: http, containerPort: 9090}]}]}
status: {phase: Running, podIPs: [{ip: 10.0.1.2}, {ip: 'fd00:0:0:1::2'}]}
---
kind: Pod
metadata: {namespace: bank, name: client, labels: {app: client, role: teller}}
spec: {nodeName: node1}
status: {phase: Running, podIPs: [{ip: 10.0.1.3}, {ip: 'fd00:0:0:1::3'}]}
---
kind: Pod
metadata: {namespace: bank, name: far, labels: {app: client, role: guard}}
spec: {nodeName: node2, containers: [{name: it, ports: [{name: http, containerPort: 8888}]}]}
status: {phase: Running, podIPs: [{ip: 10.0.2.1}, {ip: 'fd00:0:0:2::1'}]}
---
kind: Pod
metadata: {namespace: farm, name: cow, labels: {app: web}}
spec: {nodeName: node2}
status: {phase: Running, podIPs: [{ip: 10.0.2.2}, {ip: 'fd00:0:0:2::2'}]}
---
kind: Pod
metadata: {namespace: shop, name: done, labels: {app: web}}
spec: {nodeName: node2}
status: {phase: Succeeded, podIPs: [{ip: 10.0.2.3}, {ip: 'fd00:0:0:2::3'}]}
---
kind: Pod
metadata: {namespace: shop, name: ending, labels: {app: web}, deletionTimestamp: '2026-01-01T00:00:00Z'}
spec: {nodeName: node2}
status: {phase: Running, podIPs: [{ip: 10.0.2.4}, {ip: 'fd00:0:0:2::4'}]}
---
kind: Pod
metadata: {namespace: shop, name: host, labels: {app: web}}
spec: {nodeName: node2, hostNetwork: true}
status: {phase: Running, podIPs: [{ip: 192.168.0.2}, {ip: 'fd99::2'}]}
---
kind: Pod
metadata: {namespace: lost, name: stray, labels: {app: web}}
spec: {nodeName: node2}
status: {phase: Running, podIPs: [{ip: 10.0.2.6}, {ip: 'fd00:0:0:2::6'}]}
";

/// Addresses that are no pod's, by the words for them: one of each family.
const OTHERS: [(&str, [&str; 2]); 5] = [
    ("outside", ["198.51.100.7", "2001:db8::7"]),
    ("node1", ["192.168.0.1", "fd99::1"]),
    ("node2", ["192.168.0.2", "fd99::2"]),
    ("unknown-pod", ["10.0.2.77", "fd00:0:0:2::77"]),
    ("metadata", ["169.254.169.254", "fd00:ec2::254"]),
];

/// A case's cluster, with its tables on node1.
pub struct World {
    cluster: Cluster,
    tables: Tables,
}

fn node(number: u8) -> Event {
    let net = |text: String| text.parse().unwrap();
    let address = |text: String| text.parse().unwrap();
    let node = Node {
        addresses: vec![address(format!("192.168.0.{number}")), address(format!("fd99::{number}"))],
        blocks: vec![net(format!("10.0.{number}.0/24")), net(format!("fd00:0:0:{number}::/64"))],
    };
    Event::Node(format!("node{number}"), Some(node))
}

impl World {
    /// The cluster with these policies, as YAML documents.
    pub fn new(policies: &str) -> Self {
        let mut objects = Objects::default();
        objects.add_text(OBJECTS).unwrap();
        objects.add_text(policies).unwrap_or_else(|error| panic!("{error}: {policies}"));
        let mut events = objects.events;
        events.extend([node(1), node(2)]);
        let limits = Limits { peers: 1_000, nets: 1_000, rules: 1_000 };
        let mut compiler = Compiler::new("node1", limits, FirstNumbers::default());
        assert!(compiler.apply(events).is_empty());
        let mut tables = Tables::default();
        tables.carry_out(&compiler.take_plan());
        Self { cluster: compiler.cluster().clone(), tables }
    }

    fn pod(&self, name: &str) -> Option<&Arc<Pod>> {
        self.cluster.pods.values().find(|pod| pod.full_name() == name)
    }

    fn addresses(&self, who: &str) -> Vec<IpAddr> {
        if let Some(pod) = self.pod(who) {
            return pod.addresses.clone();
        }
        if let Some((_, addresses)) = OTHERS.iter().find(|(name, _)| *name == who) {
            return addresses.map(|text| text.parse().unwrap()).to_vec();
        }
        vec![who.parse().unwrap_or_else(|_| panic!("nobody is called {who}"))]
    }

    /// Answers a question such as `bank/client > shop/web TCP 80` in every family that both ends have.
    pub fn passes(&self, question: &str) -> bool {
        let (source, rest) = question.split_once(" > ").unwrap();
        let mut words = rest.split(' ');
        let (target, protocol) = (words.next().unwrap(), words.next().unwrap());
        let port = words.next().map_or(0, |port| port.parse().unwrap());
        let number = |is_v4| match protocol {
            "TCP" => 6,
            "UDP" => 17,
            "SCTP" => 132,
            "ICMP" if is_v4 => 1,
            "ICMP" => 58,
            other => panic!("{other}"),
        };
        let mut answers = Vec::new();
        for from in self.addresses(source) {
            let same = self.addresses(target).into_iter().filter(|to| to.is_ipv4() == from.is_ipv4());
            for to in same {
                let protocol = number(from.is_ipv4());
                let out = Packet { direction: Direction::Egress, peer: to, protocol, port };
                let into = Packet { direction: Direction::Ingress, peer: from, protocol, port };
                answers.push(self.judged(source, &out, question) && self.judged(target, &into, question));
            }
        }
        assert!(
            answers.windows(2).all(|pair| pair[0] == pair[1]),
            "{question}: the families differ: {answers:?}"
        );
        *answers.first().expect(question)
    }

    /// Judges one end by the objects, and by the tables where they are those of its node.
    fn judged(&self, end: &str, packet: &Packet, question: &str) -> bool {
        let Some(pod) = self.pod(end) else { return true };
        let answer = oracle::judge(&self.cluster, pod, packet);
        let explained = Explanation { cluster: &self.cluster, pod, packet, answer: &answer };
        println!("{question}: {explained}");
        if pod.node == "node1" {
            let found = self.tables.judge(&pod.uid, packet);
            let found = found.is_none_or(|it| matches!(it, Judgement::Accept(_)));
            let is_itself = pod.addresses.contains(&packet.peer);
            assert_eq!(found || is_itself, answer.passes(), "{question}: tables against {explained}");
        }
        answer.passes()
    }

    /// The explanation of the answer about a packet to a pod.
    pub fn explain(&self, pod: &str, packet: &Packet) -> String {
        let pod = self.pod(pod).unwrap();
        let answer = oracle::judge(&self.cluster, pod, packet);
        Explanation { cluster: &self.cluster, pod, packet, answer: &answer }.to_string()
    }

    /// The cluster.
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// A pod.
    pub fn known(&self, name: &str) -> &Arc<Pod> {
        self.pod(name).unwrap()
    }
}
