//! Limits: what does not fit is refused whole, and what was in force stays in force.

use std::sync::Arc;

use naru_core::policy::{
    compile::Limits,
    model::{
        Event, Namespaces, NetworkPolicy, Peer, Phase, Pod, PolicyName, Port, Ports, Protocol, Rule, Selector,
    },
    oracle,
};

use crate::{
    agreement::{Node, locals},
    world::{HERE, Random, addresses, event, packets},
};

const TIGHT: Limits = Limits { peers: 4, nets: 6, rules: 12 };

pub fn pod(uid: &str, app: &str, node: &str, address: &str, claim: u64) -> Event {
    let pod = Pod {
        uid: uid.to_owned(),
        namespace: "shop".to_owned(),
        name: uid.to_owned(),
        labels: [("app", app)].into_iter().collect(),
        node: node.to_owned(),
        addresses: vec![address.parse().unwrap()],
        host_network: false,
        phase: Phase::Running,
        terminating: false,
        ports: Vec::new(),
        claim,
    };
    Event::Pod(uid.to_owned(), Some(Arc::new(pod)))
}

/// A policy that lets pods of some app in, to so many ports.
fn policy(name: &str, app: &str, ports: u16) -> Event {
    let port = |number| Port { protocol: Protocol::Tcp, ports: Ports::Range(2 * number, 2 * number) };
    let peers = vec![Peer::Pods { namespaces: Namespaces::Own, pods: Selector::of_labels([("app", app)]) }];
    let rule = Rule { peers, ports: (1..=ports).map(port).collect() };
    let name = PolicyName { namespace: "shop".to_owned(), name: name.to_owned() };
    let pods = Selector::of_labels([("app", "web")]);
    let policy = NetworkPolicy { name: name.clone(), pods, ingress: Some(vec![rule]), egress: None };
    Event::Policy(name, Some(Arc::new(policy)))
}

/// A node with a web server, and clients at two addresses.
fn node(limits: Limits) -> Node {
    let mut node = Node::new(limits);
    let pods = [
        pod("web", "web", HERE, "10.0.0.1", 1),
        pod("one", "client", "node2", "10.0.0.2", 2),
        pod("two", "client", "node2", "10.0.0.3", 3),
    ];
    assert!(node.compiler.apply(pods.to_vec()).is_empty());
    assert!(node.compiler.apply(vec![policy("p", "client", 3)]).is_empty());
    node.carry_out();
    node
}

#[test]
fn a_policy_that_does_not_fit_is_refused_whole_and_changes_nothing() {
    let mut node = node(Limits { rules: 10, ..TIGHT });
    let before = node.tables.clone();
    let refusals = node.compiler.apply(vec![policy("large", "client", 80)]);
    let said = refusals.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(said, ["policy shop/large: entries for rules on this node would be 13, 10 at most"]);
    let plan = node.compiler.take_plan();
    assert_eq!(plan.writes(), 0, "{plan:?}");
    assert_eq!(node.tables, before);
    assert!(node.compiler.apply(vec![policy("small", "client", 8)]).is_empty());
    node.carry_out();
    node.check(&packets(&addresses()), 0);
}

#[test]
fn a_list_of_more_rules_than_programs_read_is_refused_and_its_policies_are_named() {
    let mut node = node(Limits { rules: 1_000, ..TIGHT });
    assert!(node.compiler.apply(vec![policy("q", "client", 128)]).is_empty());
    let refusals = node.compiler.apply(vec![policy("r", "client", 129)]);
    let said = refusals.iter().map(ToString::to_string).collect::<Vec<_>>();
    let wanted = "policy shop/r: 129 ranges of ports in the rules about one peer, 128 at most: policies shop/p, \
                  shop/q, shop/r";
    assert_eq!(said, [wanted]);
    node.carry_out();
    node.check(&packets(&addresses()), 0);
}

#[test]
fn a_pod_that_does_not_fit_takes_an_address_over_and_has_no_rights() {
    let mut node = node(Limits { peers: 2, ..TIGHT });
    let asked = packets(&["10.0.0.2".parse().unwrap(), "10.0.0.4".parse().unwrap()]);
    let web = locals(node.compiler.cluster())[0].clone();
    let allowed = |node: &Node| asked.iter().filter(|packet| node.passes(&web, packet)).count();
    let with_rights = allowed(&node);
    let refusals = node.compiler.apply(vec![pod("three", "client", "node2", "10.0.0.4", 4)]);
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    node.carry_out();
    assert_eq!(allowed(&node), with_rights, "the new one has no rights");
    // The same pod gets the address of another one.
    let refusals = node.compiler.apply(vec![pod("three", "client", "node2", "10.0.0.2", 5)]);
    assert!(refusals.is_empty(), "it fits in the place of the other one: {refusals:?}");
    let mut crowd = vec![pod("four", "client", "node2", "10.0.0.5", 6)];
    crowd.push(pod("four", "client", "node2", "10.0.0.2", 7));
    node.compiler.apply(crowd);
    node.carry_out();
    assert_eq!(node.compiler.refused().count(), 0);
    node.check(&asked, 0);
}

#[test]
fn under_tight_limits_nobody_ever_has_more_rights_than_the_objects_give() {
    let (all, mut refusals, mut without_rights) = (packets(&addresses()), 0, 0);
    for seed in 500..540 {
        let mut random = Random(seed);
        let mut node = Node::new(TIGHT);
        for claim in 0..50 {
            let events = (0..1 + random.below(3)).map(|_| event(&mut random, claim)).collect();
            refusals += node.compiler.apply(events).len();
            node.carry_out();
            if random.one_in(5) {
                node.compiler.collect();
                node.carry_out();
            }
            let asked = (0..40).map(|_| random.pick(&all)).collect::<Vec<_>>();
            if node.compiler.refused().next().is_none() {
                node.check(&asked, seed);
                continue;
            }
            without_rights += 1;
            let cluster = node.compiler.cluster();
            for (pod, packet) in locals(cluster).iter().flat_map(|pod| asked.iter().map(move |it| (pod, it)))
            {
                let is_wrong = node.would_pass(pod, packet) && !oracle::judge(cluster, pod, packet).passes();
                assert!(!is_wrong, "seed {seed}: {pod:?} {packet:?} {cluster:#?}");
            }
        }
        // An address that falls back to another pod may need an entry beyond the limit; the maps have room for it.
        let sizes = node.compiler.sizes();
        assert!(sizes.peers < 2 * TIGHT.peers && sizes.nets < 2 * TIGHT.nets, "seed {seed}: {sizes:?}");
    }
    println!("{refusals} refusals, {without_rights} states with pods without rights");
    assert!(refusals > 100 && without_rights > 100, "{refusals} {without_rights}");
}
