//! Objects that mean nothing, explanations, and who can reach whom.

use naru_abi::policy::Direction;
use naru_cluster::policies::{Objects, read};
use naru_core::policy::{
    model::{Event, Protocol},
    oracle::Packet,
    reach::{Target, who_can},
    review::{Flow, cuts},
};

use crate::world::World;

#[test]
fn a_policy_with_a_part_that_means_nothing_is_refused_and_named() {
    for (spec, complaint) in [
        ("{ingres: []}", "ingres"),
        ("{policyTypes: [Sideways]}", "policyTypes: Sideways is not known"),
        (
            "{podSelector: {matchExpressions: [{key: a, operator: In}]}}",
            "podSelector: key a: operator In needs values",
        ),
        ("{podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}", "takes no values"),
        (
            "{podSelector: {matchExpressions: [{key: a, operator: Like, values: [b]}]}}",
            "operator Like is not known",
        ),
        (
            "{ingress: [{from: [{}]}]}",
            "ingress rule 1: a peer needs ipBlock, podSelector or namespaceSelector",
        ),
        (
            "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]}]}",
            "a peer with ipBlock has no selectors",
        ),
        ("{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0}}]}]}", "10.0.0.0 is no range of addresses"),
        (
            "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/9]}}]}]}",
            "is no part of 10.0.0.0/8",
        ),
        ("{ingress: [{to: [{podSelector: {}}]}]}", "ingress rule 1: to has no meaning here"),
        ("{egress: [{}, {from: [{podSelector: {}}]}]}", "egress rule 2: from has no meaning here"),
        ("{ingress: [{ports: [{port: 80, protocol: ICMP}]}]}", "protocol ICMP is not TCP, UDP or SCTP"),
        ("{ingress: [{ports: [{port: 80, endPort: 79}]}]}", "endPort 79 is smaller than port 80"),
        ("{ingress: [{ports: [{port: http, endPort: 79}]}]}", "endPort needs the number of a port"),
        ("{ingress: [{ports: [{endPort: 79}]}]}", "endPort needs the number of a port"),
        ("{ingress: [{ports: [{port: '80'}]}]}", "port 80 is no name"),
        ("{ingress: [{ports: [{port: 0}]}]}", "port 0 is none"),
    ] {
        let text = format!("kind: NetworkPolicy\nmetadata: {{namespace: shop, name: p}}\nspec: {spec}");
        let error = Objects::default().add_text(&text).expect_err(spec);
        assert!(error.contains(complaint), "{spec}: {error}");
    }
}

#[test]
fn a_directory_is_read_whole_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let policy = "kind: NetworkPolicy\nmetadata: {name: p}\nspec: {podSelector: {}}\n";
    write("a.yaml", policy);
    write(
        "b.json",
        r#"{"kind": "List", "items": [{"kind": "Namespace", "metadata": {"name": "x"}}, {"kind": "J"}]}"#,
    );
    write("notes.txt", "no YAML at all: [");
    write(".c.yaml", "neither: [");
    let objects = read(directory.path()).unwrap();
    assert_eq!(objects.events.len(), 2);
    assert!(matches!(&objects.events[0], Event::Policy(name, Some(_)) if name.to_string() == "default/p"));
    write("d.yaml", policy);
    let error = read(directory.path()).unwrap_err();
    assert!(error.contains("d.yaml: NetworkPolicy default/p: it is there twice"), "{error}");
    write("d.yaml", "kind: [");
    assert!(read(directory.path()).unwrap_err().contains("d.yaml"));
}

const POLICY: &str = r"
kind: NetworkPolicy
metadata: {namespace: shop, name: web}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - {from: [{namespaceSelector: {matchLabels: {team: b}}}], ports: [{port: 8080}]}
  - {from: [{ipBlock: {cidr: 192.168.0.0/16, except: [192.168.0.0/24]}}]}
";

#[test]
fn a_denial_names_the_policies_the_peer_and_the_nearest_rule() {
    let world = World::new(POLICY);
    let from = |peer: &str, protocol, port| Packet {
        direction: Direction::Ingress,
        peer: peer.parse().unwrap(),
        protocol,
        port,
    };
    for (packet, explanation) in [
        (
            from("10.0.1.3", 6, 8081),
            "shop/web: denied: the pod is isolated for ingress by shop/web, and no rule allows TCP 8081 from pod \
             bank/client (10.0.1.3); nearest is ingress rule 1 of shop/web (pods everything of namespaces team=b, \
             TCP 8080): the peer is right, the port is not",
        ),
        (
            from("192.168.0.2", 6, 8080),
            "shop/web: denied: the pod is isolated for ingress by shop/web, and no rule allows TCP 8080 from \
             node node2 (192.168.0.2), which is no pod; nearest is ingress rule 2 of shop/web (192.168.0.0/16 except \
             192.168.0.0/24, every port): its block has the peer in an exception; selectors never match a node, an \
             ipBlock with 192.168.0.2/32 would",
        ),
        (
            from("10.0.1.3", 6, 8080),
            "shop/web: passes by ingress rule 1 of shop/web (pods everything of namespaces team=b, TCP 8080)",
        ),
    ] {
        assert_eq!(world.explain("shop/web", &packet), explanation);
    }
}

#[test]
fn who_can_reach_a_port_is_listed_with_those_who_are_held_back_by_their_own_policies() {
    let held_back = "---\nkind: NetworkPolicy\nmetadata: {namespace: bank, name: b}\n\
                     spec: {podSelector: {matchLabels: {role: guard}}, policyTypes: [Egress]}";
    let world = World::new(&format!("{POLICY}{held_back}"));
    let target = Target { protocol: Protocol::Tcp, port: 8080 };
    let reach = who_can(world.cluster(), world.known("shop/web"), target);
    assert!(!reach.is_open);
    assert_eq!(reach.pods.keys().collect::<Vec<_>>(), ["bank/client"]);
    assert_eq!(reach.held_back.keys().collect::<Vec<_>>(), ["bank/far"]);
    let blocks = reach.blocks.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(blocks, ["192.168.0.0/16 except 192.168.0.0/24"]);
    assert!(who_can(world.cluster(), world.known("shop/db"), target).is_open);
}

#[test]
fn flows_that_a_policy_would_cut_are_named_before_it_is_in_force() {
    let world = World::new("kind: Job");
    let mut objects = Objects::default();
    objects.add_text(POLICY).unwrap();
    let flow = |source: &str, port| Flow {
        source: source.parse().unwrap(),
        destination: "10.0.1.1".parse().unwrap(),
        protocol: 6,
        port,
    };
    let flows = [flow("10.0.1.3", 8080), flow("10.0.1.3", 22), flow("198.51.100.7", 8080)];
    let (cuts, changed) = cuts(world.cluster(), objects.events, &flows);
    assert_eq!(cuts.iter().map(|cut| cut.flow).collect::<Vec<_>>(), flows[1..]);
    assert!(cuts.iter().all(|cut| cut.pod.full_name() == "shop/web"));
    assert_eq!(changed.policies.len(), 1);
    assert!(world.cluster().policies.is_empty());
}
