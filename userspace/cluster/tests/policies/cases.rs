//! The table: a policy or several, what passes with them (`yes`), and what does not (`no`).

use crate::world::World;

struct Case {
    what: &'static str,
    policies: &'static str,
    yes: &'static [&'static str],
    no: &'static [&'static str],
}

const IN: &str = "kind: NetworkPolicy\nmetadata: {namespace: shop, name: p}\nspec: ";

const CASES: &[Case] = &[
    Case {
        what: "no policy: everything passes",
        policies: "{policyTypes: [Egress], podSelector: {matchLabels: {app: nobody}}}",
        yes: &["bank/client > shop/web TCP 80", "outside > shop/web ICMP", "shop/web > outside UDP 1"],
        no: &[],
    },
    Case {
        what: "default deny of what comes in, by the default of policyTypes",
        policies: "{podSelector: {}}",
        yes: &["shop/web > outside TCP 80", "bank/client > bank/far TCP 80"],
        no: &["bank/client > shop/web TCP 80", "outside > shop/db UDP 1", "shop/web > shop/db ICMP"],
    },
    Case {
        what: "a pod that reaches itself passes",
        policies: "{podSelector: {}, policyTypes: [Ingress, Egress]}",
        yes: &["shop/web > shop/web TCP 80"],
        no: &["shop/web > shop/db TCP 80"],
    },
    Case {
        what: "egress rules without policyTypes isolate both ways",
        policies: "{podSelector: {matchLabels: {app: web}}, egress: [{to: [{podSelector: {}}]}]}",
        yes: &["shop/web > shop/db TCP 1"],
        no: &["shop/web > bank/far TCP 1", "shop/db > shop/web TCP 1"],
    },
    Case {
        what: "an empty list of egress rules without policyTypes isolates only what comes in",
        policies: "{podSelector: {matchLabels: {app: web}}, egress: []}",
        yes: &["shop/web > bank/far TCP 1"],
        no: &["shop/db > shop/web TCP 1"],
    },
    Case {
        what: "rules of a direction that policyTypes leaves out mean nothing",
        policies: "{podSelector: {}, policyTypes: [Egress], ingress: [{from: [{ipBlock: {cidr: 1.2.3.4/32}}]}]}",
        yes: &["bank/client > shop/web TCP 1"],
        no: &["shop/web > bank/far TCP 1"],
    },
    Case {
        what: "an empty rule allows everything",
        policies: "{podSelector: {}, ingress: [{}]}",
        yes: &["bank/client > shop/web TCP 1", "outside > shop/web ICMP", "node2 > shop/db SCTP 9"],
        no: &[],
    },
    Case {
        what: "podSelector means pods of the policy's namespace",
        policies: "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}",
        yes: &["shop/web > shop/db TCP 80", "shop/ending > shop/db TCP 80"],
        no: &["farm/cow > shop/db TCP 80", "lost/stray > shop/db TCP 80", "shop/db > shop/web TCP 80"],
    },
    Case {
        what: "completed and hostNetwork pods are no members, and a node is none",
        policies: "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}",
        yes: &[],
        no: &["shop/done > shop/db TCP 80", "shop/host > shop/db TCP 80", "node1 > shop/db TCP 80"],
    },
    Case {
        what: "namespaceSelector means all pods of such namespaces",
        policies: "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}}]}]}",
        yes: &["bank/client > shop/db TCP 80", "bank/far > shop/db ICMP"],
        no: &["farm/cow > shop/db TCP 80", "shop/web > shop/db TCP 80", "unknown-pod > shop/db TCP 80"],
    },
    Case {
        what: "every namespace has the label of its name",
        policies: "{podSelector: {}, ingress: [{from: [{namespaceSelector: \
                   {matchLabels: {kubernetes.io/metadata.name: farm}}}]}]}",
        yes: &["farm/cow > shop/db TCP 80"],
        no: &["bank/client > shop/db TCP 80"],
    },
    Case {
        what: "all namespaces: every pod, also one that is not known, and nothing else",
        policies: "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}",
        yes: &["farm/cow > shop/db TCP 80", "unknown-pod > shop/db TCP 80", "lost/stray > shop/db TCP 80"],
        no: &["outside > shop/db TCP 80", "node2 > shop/db TCP 80", "shop/host > shop/db TCP 80"],
    },
    Case {
        what: "a namespace that is not known is in no selection, negative ones included",
        policies: "{podSelector: {}, ingress: [{from: [{namespaceSelector: \
                   {matchExpressions: [{key: team, operator: DoesNotExist}]}}]}]}",
        yes: &["farm/cow > shop/db TCP 80"],
        no: &["lost/stray > shop/db TCP 80", "bank/client > shop/db TCP 80"],
    },
    Case {
        what: "both selectors in one peer: both must match",
        policies: "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}, \
                   podSelector: {matchLabels: {role: guard}}}]}]}",
        yes: &["bank/far > shop/db TCP 80"],
        no: &["bank/client > shop/db TCP 80", "shop/web > shop/db TCP 80"],
    },
    Case {
        what: "both selectors in two peers: either is enough",
        policies: "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}}, \
                   {podSelector: {matchLabels: {app: web}}}]}]}",
        yes: &["bank/client > shop/db TCP 80", "shop/web > shop/db TCP 80"],
        no: &["farm/cow > shop/db TCP 80"],
    },
    Case {
        what: "In and NotIn: a pod without the label is in NotIn only",
        policies: "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}, podSelector: {matchExpressions: [\
                   {key: role, operator: NotIn, values: [guard, cook]}, \
                   {key: app, operator: In, values: [web, client]}]}}]}]}",
        yes: &["bank/client > shop/db TCP 80", "farm/cow > shop/db TCP 80"],
        no: &["bank/far > shop/db TCP 80", "shop/db > shop/web TCP 80"],
    },
    Case {
        what: "Exists and DoesNotExist",
        policies: "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}, podSelector: {matchExpressions: [\
                   {key: role, operator: Exists}]}}, {podSelector: {matchExpressions: [\
                   {key: tier, operator: DoesNotExist}]}}]}]}",
        yes: &["bank/client > shop/db TCP 80", "shop/db > shop/web TCP 80"],
        no: &["farm/cow > shop/db TCP 80", "shop/web > shop/db TCP 80"],
    },
    Case {
        what: "the isolated pods may be chosen by expressions",
        policies: "{podSelector: {matchExpressions: [{key: tier, operator: Exists}]}}",
        yes: &["bank/client > shop/db TCP 80"],
        no: &["bank/client > shop/web TCP 80"],
    },
    Case {
        what: "a port without protocol is one of TCP",
        policies: "{podSelector: {}, ingress: [{ports: [{port: 80}]}]}",
        yes: &["outside > shop/web TCP 80"],
        no: &["outside > shop/web UDP 80", "outside > shop/web TCP 81", "outside > shop/web ICMP"],
    },
    Case {
        what: "a protocol without port is all of it, and isolates from the others",
        policies: "{podSelector: {}, ingress: [{ports: [{protocol: SCTP}]}]}",
        yes: &["outside > shop/web SCTP 1", "outside > shop/web SCTP 65535"],
        no: &["outside > shop/web TCP 1", "outside > shop/web UDP 1", "outside > shop/web ICMP"],
    },
    Case {
        what: "UDP only isolates from TCP",
        policies: "{podSelector: {}, ingress: [{ports: [{protocol: UDP, port: 53}]}]}",
        yes: &["outside > shop/web UDP 53"],
        no: &["outside > shop/web TCP 53", "outside > shop/web SCTP 53"],
    },
    Case {
        what: "endPort is a range with both ends",
        policies: "{podSelector: {}, ingress: [{ports: [{port: 8000, endPort: 8080}]}]}",
        yes: &["outside > shop/web TCP 8000", "outside > shop/web TCP 8044", "outside > shop/web TCP 8080"],
        no: &["outside > shop/web TCP 7999", "outside > shop/web TCP 8081", "outside > shop/web UDP 8044"],
    },
    Case {
        what: "the range of one port, and of the last ports",
        policies: "{podSelector: {}, ingress: [{ports: [{port: 7, endPort: 7}, {port: 65534, endPort: 65535}]}]}",
        yes: &["outside > shop/web TCP 7", "outside > shop/web TCP 65535", "outside > shop/web TCP 65534"],
        no: &["outside > shop/web TCP 8", "outside > shop/web TCP 65533"],
    },
    Case {
        what: "a named port of what comes in is the number of the judged pod",
        policies: "{podSelector: {}, ingress: [{ports: [{port: http}]}]}",
        yes: &["outside > shop/web TCP 8080", "outside > shop/db TCP 9090"],
        no: &["outside > shop/web TCP 9090", "outside > shop/db TCP 8080", "outside > shop/web UDP 8080"],
    },
    Case {
        what: "one name for two protocols",
        policies: "{podSelector: {}, ingress: [{ports: [{port: dns}, {port: dns, protocol: UDP}]}]}",
        yes: &["outside > shop/web TCP 5353", "outside > shop/web UDP 53"],
        no: &["outside > shop/web TCP 53", "outside > shop/web UDP 5353", "outside > shop/db UDP 53"],
    },
    Case {
        what: "named ports of restartable init containers count, of others they do not",
        policies: "{podSelector: {}, ingress: [{ports: [{port: proxy}, {port: setup}]}]}",
        yes: &["outside > shop/web TCP 15001"],
        no: &["outside > shop/web TCP 7000"],
    },
    Case {
        what: "a name that no pod has allows nothing",
        policies: "{podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{ports: [{port: nowhere}]}], \
                   egress: [{ports: [{port: nowhere}]}]}",
        yes: &[],
        no: &["outside > shop/web TCP 8080", "shop/web > bank/far TCP 8888"],
    },
    Case {
        what: "a named port of what goes out is the number of each peer",
        policies: "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: \
                   [{podSelector: {}}, {namespaceSelector: {}}], ports: [{port: http}]}]}",
        yes: &["shop/web > shop/db TCP 9090", "shop/web > bank/far TCP 8888"],
        no: &[
            "shop/web > shop/db TCP 8888",
            "shop/web > bank/far TCP 9090",
            "shop/web > bank/client TCP 8080",
        ],
    },
    Case {
        what: "a named port to everybody means pods with such a port",
        policies: "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{ports: [{port: http}]}]}",
        yes: &["shop/web > shop/db TCP 9090", "shop/web > bank/far TCP 8888"],
        no: &["shop/web > outside TCP 8888", "shop/web > farm/cow TCP 8888", "shop/web > node2 TCP 8888"],
    },
    Case {
        what: "a named port to a block means pods in it",
        policies: "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [\
                   {ipBlock: {cidr: 10.0.2.0/24}}, {ipBlock: {cidr: 'fd00:0:0:2::/64'}}], ports: [{port: http}]}]}",
        yes: &["shop/web > bank/far TCP 8888"],
        no: &["shop/web > shop/db TCP 9090", "shop/web > bank/far TCP 9090"],
    },
    Case {
        what: "ipBlock of a pod's own address matches that pod",
        policies: "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.1.3/32}}, \
                   {ipBlock: {cidr: 'fd00:0:0:1::3/128'}}]}]}",
        yes: &["bank/client > shop/web TCP 1"],
        no: &["bank/far > shop/web TCP 1", "shop/db > shop/web TCP 1"],
    },
    Case {
        what: "nodes and hostNetwork pods match ipBlock",
        policies: "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 192.168.0.2/32}}, \
                   {ipBlock: {cidr: 'fd99::2/128'}}]}]}",
        yes: &["node2 > shop/web TCP 1", "shop/host > shop/web TCP 1"],
        no: &["node1 > shop/web TCP 1", "bank/client > shop/web TCP 1"],
    },
    Case {
        what: "a block matches pods and others alike",
        policies: "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}, {ipBlock: {cidr: '::/0'}}]}]}",
        yes: &["bank/client > shop/web TCP 1", "outside > shop/web TCP 1", "node1 > shop/web ICMP"],
        no: &[],
    },
    Case {
        what: "the block of all IPv4 addresses holds no IPv6 address",
        policies: "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}",
        yes: &["198.51.100.7 > shop/web TCP 1", "10.0.1.3 > shop/web TCP 1"],
        no: &["2001:db8::7 > shop/web TCP 1", "fd00:0:0:1::3 > shop/web TCP 1"],
    },
    Case {
        what: "the block of all IPv6 addresses holds no IPv4 address",
        policies: "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: '::/0'}}]}]}",
        yes: &["2001:db8::7 > shop/web TCP 1", "fd00:0:0:1::3 > shop/web TCP 1"],
        no: &["198.51.100.7 > shop/web TCP 1", "10.0.1.3 > shop/web TCP 1"],
    },
    Case {
        what: "except leaves a part of a block out",
        policies: "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{ipBlock: \
                   {cidr: 0.0.0.0/0, except: [169.254.169.254/32, 10.0.0.0/8]}}, {ipBlock: {cidr: '::/0', \
                   except: ['fd00::/16', 'fd99::2/128']}}]}]}",
        yes: &["shop/web > outside TCP 80", "shop/web > node1 TCP 80"],
        no: &["shop/web > metadata TCP 80", "shop/web > bank/far TCP 80", "shop/web > shop/db TCP 80"],
    },
    Case {
        what: "except counts for its own block only",
        policies: "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/16, except: [10.0.1.0/24]}}], \
                   ports: [{port: 80}]}, {from: [{ipBlock: {cidr: 10.0.1.0/24, except: [10.0.1.3/32]}}]}]}",
        yes: &["10.0.2.1 > shop/web TCP 80", "10.0.1.2 > shop/web TCP 9", "10.0.1.9 > shop/web TCP 80"],
        no: &["10.0.2.1 > shop/web TCP 81", "10.0.1.3 > shop/web TCP 80", "10.0.1.3 > shop/web TCP 9"],
    },
    Case {
        what: "an exception does not bind a selector beside it",
        policies: "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.1.0/24]}}, \
                   {podSelector: {matchLabels: {app: db}}}]}]}",
        yes: &["shop/db > shop/web TCP 80", "10.0.2.1 > shop/web TCP 80"],
        no: &["10.0.1.3 > shop/web TCP 80"],
    },
    Case {
        what: "a local cache of the DNS needs its own block",
        policies: "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [\
                   {namespaceSelector: {}}, {ipBlock: {cidr: 169.254.20.10/32}}], \
                   ports: [{port: 53, protocol: UDP}, {port: 53}]}]}",
        yes: &[
            "shop/web > 169.254.20.10 UDP 53",
            "shop/web > 169.254.20.10 TCP 53",
            "shop/web > bank/far UDP 53",
        ],
        no: &["shop/web > 169.254.20.11 UDP 53", "shop/web > node1 UDP 53"],
    },
    Case {
        what: "peers and ports of one rule must both match",
        policies: "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: db}}}], ports: [{port: 80}]}, \
                   {from: [{namespaceSelector: {matchLabels: {team: b}}}], ports: [{port: 443}]}]}",
        yes: &["shop/db > shop/web TCP 80", "bank/client > shop/web TCP 443"],
        no: &["shop/db > shop/web TCP 443", "bank/client > shop/web TCP 80"],
    },
];

fn ask(what: &str, world: &World, yes: &[&str], no: &[&str]) {
    for question in yes {
        assert!(world.passes(question), "{what}: {question} must pass");
    }
    for question in no {
        assert!(!world.passes(question), "{what}: {question} must not pass");
    }
}

#[test]
fn each_policy_of_the_table_lets_pass_what_it_must_and_nothing_else() {
    let mut questions = 0;
    for case in CASES {
        let world = World::new(&format!("{IN}{}", case.policies));
        ask(case.what, &world, case.yes, case.no);
        questions += case.yes.len() + case.no.len();
    }
    println!("{} cases, {questions} questions", CASES.len());
    assert!(questions >= 80, "the table is whole");
}

#[test]
fn several_policies_add_up_and_both_ends_must_agree() {
    let policies = r"
kind: NetworkPolicy
metadata: {namespace: shop, name: deny}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
---
kind: NetworkPolicy
metadata: {namespace: shop, name: from-bank}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}}]}]}
---
kind: NetworkPolicy
metadata: {namespace: shop, name: from-outside}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{ipBlock: {cidr: 198.51.100.0/24}}]}]}
---
kind: NetworkPolicy
metadata: {namespace: shop, name: to-db}
spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}]}]}
---
kind: NetworkPolicy
metadata: {namespace: bank, name: only-shop}
spec:
  podSelector: {matchLabels: {role: teller}}
  policyTypes: [Egress]
  egress: [{to: [{namespaceSelector: {matchLabels: {team: a}}}], ports: [{port: 80}]}]
";
    let yes = ["bank/client > shop/web TCP 80", "198.51.100.7 > shop/web TCP 1", "bank/far > shop/web UDP 9"];
    // The database is isolated and lets nobody in, though the web server may go there.
    let no = [
        "bank/client > shop/web TCP 81",
        "farm/cow > shop/web TCP 80",
        "shop/web > shop/db TCP 1",
        "bank/client > shop/db TCP 80",
        "bank/client > outside TCP 80",
        "shop/db > shop/web TCP 80",
    ];
    ask("several policies", &World::new(policies), &yes, &no);
}

#[test]
fn more_ports_than_a_page_holds_are_all_judged() {
    let ports = (0..40).map(|port| format!("{{port: {}}}", 1_000 + 2 * port)).collect::<Vec<_>>().join(", ");
    let world = World::new(&format!("{IN}{{podSelector: {{}}, ingress: [{{ports: [{ports}]}}]}}"));
    for port in 0..40 {
        assert!(world.passes(&format!("outside > shop/web TCP {}", 1_000 + 2 * port)));
        assert!(!world.passes(&format!("outside > shop/web TCP {}", 1_001 + 2 * port)));
    }
}
