//! Policies in the programs: verdicts against the interpreter of the same tables, and answers of connections.

use std::net::IpAddr;

use naru_abi::{
    Addr, DropReason, FlowKey, Hook, Outcome, PodValue, Prefix, STATE_BUCKETS, STATE_WAYS, StackReason,
    Verdict, fingerprint, pod_flags,
    policy::{
        Direction, Judgement, PAGE_RULES, PeerValue, PolicyRule, PolicyTables, Question, RuleVerdict,
        RulesKey, RulesValue, judge,
    },
};
use naru_bpf::Policies;

use crate::{
    frames::Packet,
    node::{Node, add_policies, config},
    run::{growth, run},
    world::{A, B, FAMILIES, Family, Pod, populate},
};

/// Ends that the tests here come to.
pub const BY_POLICY: [Outcome; 4] = [
    Outcome::Drop(DropReason::PolicyEgress),
    Outcome::Drop(DropReason::PolicyIngress),
    Outcome::Drop(DropReason::PolicyFull),
    Outcome::Drop(DropReason::PolicyFragment),
];

const TCP: u8 = 6;
const UDP: u8 = 17;
const SYN: u8 = 2;
const ACK: u8 = 16;

/// Numbers that look random and are the same every time (SplitMix64).
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % limit
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

/// The tables, in the kernel and beside it.
pub struct Tables {
    kernel: Policies,
    peers: Vec<PeerValue>,
    nets: Vec<(Prefix, u32)>,
    rules: Vec<RulesValue>,
}

impl Tables {
    pub fn new(node: &Node) -> Self {
        add_policies(&node.pins);
        let kernel = node.datapath().policies().unwrap();
        Self { kernel, peers: Vec::new(), nets: Vec::new(), rules: Vec::new() }
    }

    pub fn list(&mut self, key: RulesKey, rules: &[PolicyRule], otherwise: RuleVerdict) {
        let pages: Vec<&[PolicyRule]> =
            if rules.is_empty() { vec![rules] } else { rules.chunks(PAGE_RULES).collect() };
        for (page, rules) in pages.iter().enumerate() {
            let mut value = RulesValue {
                key: RulesKey { page: u16::try_from(page).unwrap(), ..key },
                count: u8::try_from(rules.len()).unwrap(),
                more: u8::from(page + 1 < pages.len()),
                otherwise: otherwise as u8,
                reserved: 0,
                rules: [PolicyRule::EMPTY; PAGE_RULES],
            };
            value.rules[..rules.len()].copy_from_slice(rules);
            self.kernel.put_rules(value).unwrap();
            self.rules.push(value);
        }
    }

    pub fn place(&mut self, address: IpAddr, class: u32, base: u32) {
        let value = PeerValue { address: address.into(), class, base };
        self.kernel.put_peer(value).unwrap();
        self.peers.push(value);
    }

    fn around(&mut self, prefix: Prefix, class: u32) {
        self.kernel.put_net(prefix, class).unwrap();
        self.nets.push((prefix, class));
    }
}

impl PolicyTables for Tables {
    fn peer(&self, address: &Addr) -> Option<PeerValue> {
        self.peers.iter().find(|peer| peer.address == *address).copied()
    }

    fn net(&self, address: &Addr) -> u32 {
        let holds = |prefix: &Prefix| {
            let kept = u128::MAX.checked_shl(128 - prefix.prefix_len).unwrap_or(0);
            u128::from_be_bytes(address.octets) & kept == u128::from_be_bytes(prefix.addr.octets)
        };
        let held = self.nets.iter().filter(|(prefix, _)| holds(prefix));
        held.max_by_key(|(prefix, _)| prefix.prefix_len).map_or(0, |(_, class)| *class)
    }

    fn page(&self, key: &RulesKey) -> Option<&RulesValue> {
        self.rules.iter().find(|page| page.key == *key)
    }
}

pub fn key(subject: u32, class: u32, direction: Direction) -> RulesKey {
    RulesKey { subject, class, direction: direction as u16, page: 0 }
}

pub fn rule(rule: u32, protocol: u8, from: u16, to: u16) -> PolicyRule {
    PolicyRule { rule, from, to, protocol, verdict: RuleVerdict::Accept as u8, tier: 0, reserved: 0 }
}

/// Has the pod judged by this subject, in these directions.
pub fn isolate(node: &Node, pod: Pod, subject: u32, flags: u32) {
    let mut pods = node.datapath().pods().unwrap();
    for family in FAMILIES {
        let value = pods.get(pod.address(family)).unwrap().unwrap();
        let flags = value.flags & !pod_flags::JUDGED | flags;
        pods.insert(pod.address(family), PodValue { subject, flags, ..value }).unwrap();
    }
}

/// A TCP segment with these flags.
pub fn tcp(packet: Packet, source: u16, destination: u16, flags: u8) -> Packet {
    let mut payload = [&source.to_be_bytes()[..], &destination.to_be_bytes(), &[0; 16]].concat();
    payload[12] = 5 << 4;
    payload[13] = flags;
    packet.carrying(TCP, payload)
}

/// An ICMP echo request or reply.
pub fn echo(packet: Packet, family: Family, is_reply: bool, id: u16) -> Packet {
    let (protocol, kind) = match (family, is_reply) {
        (Family::V4, false) => (1, 8),
        (Family::V4, true) => (1, 0),
        (Family::V6, false) => (58, 128),
        (Family::V6, true) => (58, 129),
    };
    let [high, low] = id.to_be_bytes();
    packet.carrying(protocol, vec![kind, 0, 0, 0, high, low, 0, 1])
}

/// Sends a packet out of a pod; returns its end.
pub fn send(node: &Node, from: Pod, packet: &Packet) -> Outcome {
    let stats = node.datapath().stats().unwrap();
    let before = stats.totals().unwrap();
    run(node, Hook::FromPod, node.ifindex(from.interface), &packet.frame(), None);
    let ends = growth(&stats, &before);
    assert_eq!(ends.len(), 1, "{ends:?}");
    ends[0].outcome
}

/// A node with the pods of the tables of cases.
pub fn node() -> Node {
    let node = Node::new();
    populate(&node);
    node.datapath().config().unwrap().set(config(node.ifindex("pod5"))).unwrap();
    node
}

const EGRESS: Outcome = Outcome::Drop(DropReason::PolicyEgress);
const INGRESS: Outcome = Outcome::Drop(DropReason::PolicyIngress);
const PEER: Outcome = Outcome::Verdict(Verdict::Peer);

/// Lists for four subjects and classes, of up to three pages, with rules of every kind.
fn random_tables(tables: &mut Tables, chance: &mut Chance) {
    let mut number = 0;
    for subject in 1..=4 {
        for class in 0..=4 {
            for direction in Direction::ALL {
                if class != 0 && chance.below(3) == 0 {
                    continue;
                }
                let mut rules = Vec::new();
                for _ in 0..chance.below(20) {
                    number += 1;
                    let from = u16::try_from(chance.below(40)).unwrap();
                    let to = from + u16::try_from(chance.below(8)).unwrap();
                    let protocol = chance.pick(&[0, TCP, UDP, UDP, 132]);
                    let verdict =
                        chance.pick(&[RuleVerdict::Accept, RuleVerdict::Deny, RuleVerdict::Pass]) as u8;
                    let (from, to) = if protocol == 0 { (0, u16::MAX) } else { (from, to) };
                    let tier = u8::try_from(rules.len() / 7).unwrap();
                    rules.push(PolicyRule { verdict, tier, ..rule(number, protocol, from, to) });
                }
                let otherwise = chance.pick(&[RuleVerdict::Deny, RuleVerdict::Deny, RuleVerdict::Accept]);
                tables.list(key(subject, class, direction), &rules, otherwise);
            }
        }
    }
}

fn place_peers(tables: &mut Tables) {
    for family in FAMILIES {
        tables.place(A.address(family), 1, 2);
        tables.place(B.address(family), 2, 0);
        let (length, short) = if family == Family::V4 { (24, 8) } else { (64, 16) };
        tables.around(Prefix::new(family.pick("198.51.100.0", "2001:db8:ffff::"), length), 3);
        tables.around(Prefix::new(family.pick("198.0.0.0", "2001::"), short), 4);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_programs_judge_random_packets_as_the_interpreter_of_the_same_tables_does() {
    let node = node();
    let (mut tables, mut chance) = (Tables::new(&node), Chance(14));
    random_tables(&mut tables, &mut chance);
    place_peers(&mut tables);
    let passes =
        |tables: &Tables, question: &Question| matches!(judge(tables, question), Judgement::Accept(_));
    let mut seen = std::collections::BTreeMap::new();
    for number in 0..6_000u16 {
        let (subject, to) = (1 + chance.below(4) as u32, 1 + chance.below(4) as u32);
        if number % 50 == 0 {
            isolate(&node, A, subject, pod_flags::JUDGE_EGRESS);
            isolate(&node, B, to, pod_flags::JUDGE_INGRESS);
        }
        let family = chance.pick(&FAMILIES);
        let subject_of =
            |pod: Pod| node.datapath().pods().unwrap().get(pod.address(family)).unwrap().unwrap().subject;
        let destination = match chance.below(4) {
            0 => family.outside(),
            1 => family.pick("198.7.7.7", "2001:7::7"),
            2 => family.pick("203.0.113.9", "fd99::9"),
            _ => B.address(family),
        };
        // A source port of its own each, so that no packet answers another.
        let (source, port) = (10_000 + number, u16::try_from(chance.below(50)).unwrap());
        let packet = A.sends(family, destination);
        let (protocol, port, packet) = match chance.below(4) {
            0 => (if family == Family::V4 { 1 } else { 58 }, 0, echo(packet, family, false, source)),
            1 => (TCP, port, tcp(packet, source, port, SYN)),
            2 => (132, port, packet.ports(source, port).carrying_as(132)),
            _ => (UDP, port, packet.ports(source, port)),
        };
        let question = |subject, direction, peer: IpAddr| Question {
            subject,
            direction,
            peer: peer.into(),
            protocol,
            port,
        };
        let expected = if !passes(&tables, &question(subject_of(A), Direction::Egress, destination)) {
            EGRESS
        } else if destination != B.address(family) {
            StackReason::Outside.into()
        } else if !passes(&tables, &question(subject_of(B), Direction::Ingress, A.address(family))) {
            INGRESS
        } else {
            PEER
        };
        let end = send(&node, A, &packet);
        assert_eq!(end, expected, "{family:?} {protocol} to {destination} port {port}");
        *seen.entry(end.label()).or_insert(0) += 1;
    }
    assert!(seen.len() == 4 && seen.values().all(|count| *count > 100), "{seen:?}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_closed_pod_lets_nothing_pass_and_every_denial_is_recorded_and_counted() {
    let node = node();
    add_policies(&node.pins);
    isolate(&node, A, naru_abi::policy::CLOSED_SUBJECT, pod_flags::JUDGED);
    for family in FAMILIES {
        let packet = A.sends(family, B.address(family)).ports(1000, 53);
        for _ in 0..3 {
            assert_eq!(send(&node, A, &packet), EGRESS);
        }
        assert_eq!(send(&node, B, &B.sends(family, A.address(family)).ports(1000, 53)), INGRESS);
    }
    let denials = node.datapath().policies().unwrap().denials().unwrap();
    let of = |family: Family, direction: Direction| {
        let is_it = |denial: &&naru_bpf::Denial| {
            denial.key.peer == B.address(family).into() && denial.key.direction == direction as u8
        };
        *denials.iter().find(is_it).unwrap()
    };
    for family in FAMILIES {
        let (egress, ingress) = (of(family, Direction::Egress), of(family, Direction::Ingress));
        assert_eq!((egress.value.packets, ingress.value.packets), (3, 1));
        assert_eq!((egress.key.protocol, egress.key.port), (UDP, 53));
        assert_eq!(egress.value.reason, naru_abi::Denied::Unknown as u32);
        assert_eq!(egress.key.ifindex, node.ifindex(A.interface));
    }
    assert_eq!(denials.len(), 4);
}

/// A may send to port 53 of B, B takes that and nothing else, and neither may send anything by itself.
pub fn dns(node: &Node) -> Tables {
    let mut tables = Tables::new(node);
    for family in FAMILIES {
        tables.place(A.address(family), 1, 0);
        tables.place(B.address(family), 2, 0);
    }
    let rules = |first| {
        [
            rule(first, UDP, 53, 53),
            rule(first + 1, TCP, 53, 53),
            rule(first + 2, 1, 0, 0),
            rule(first + 3, 58, 0, 0),
        ]
    };
    let deny = RuleVerdict::Deny;
    tables.list(key(1, 2, Direction::Egress), &rules(1), deny);
    tables.list(key(2, 1, Direction::Ingress), &rules(11), deny);
    for (subject, direction) in
        [(1, Direction::Ingress), (2, Direction::Egress), (3, Direction::Ingress), (3, Direction::Egress)]
    {
        tables.list(key(subject, 0, direction), &[], deny);
    }
    tables.list(key(1, 0, Direction::Egress), &[], deny);
    tables.list(key(2, 0, Direction::Ingress), &[], deny);
    isolate(node, A, 1, pod_flags::JUDGED);
    isolate(node, B, 2, pod_flags::JUDGED);
    tables
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn answers_pass_where_the_connection_was_opened_the_other_way_and_nothing_else_does() {
    let node = node();
    dns(&node);
    for family in FAMILIES {
        let (to_b, to_a) = (A.sends(family, B.address(family)), B.sends(family, A.address(family)));
        let udp = |packet: &Packet, source, destination| packet.clone().ports(source, destination);
        assert_eq!(send(&node, B, &udp(&to_a, 53, 4000)), EGRESS, "before it was asked");
        assert_eq!(send(&node, A, &udp(&to_b, 4000, 53)), PEER);
        assert_eq!(send(&node, B, &udp(&to_a, 53, 4000)), PEER, "the answer");
        assert_eq!(send(&node, B, &udp(&to_a, 53, 4001)), EGRESS, "to another port");
        assert_eq!(send(&node, B, &udp(&to_a, 54, 4000)), EGRESS, "from another port");
        assert_eq!(send(&node, A, &udp(&to_b, 4000, 54)), EGRESS);
        assert_eq!(send(&node, A, &echo(to_b.clone(), family, false, 7)), PEER);
        assert_eq!(send(&node, B, &echo(to_a.clone(), family, true, 7)), PEER);
        assert_eq!(send(&node, B, &echo(to_a.clone(), family, true, 8)), EGRESS, "another echo");
        let tcp =
            |packet: &Packet, source, destination, flags| tcp(packet.clone(), source, destination, flags);
        assert_eq!(send(&node, B, &tcp(&to_a, 53, 5000, ACK)), EGRESS, "a forged acknowledgement");
        assert_eq!(send(&node, B, &tcp(&to_a, 53, 5000, SYN | ACK)), EGRESS, "a forged acceptance");
        assert_eq!(send(&node, A, &tcp(&to_b, 5000, 53, SYN)), PEER);
        assert_eq!(send(&node, B, &tcp(&to_a, 53, 5000, SYN | ACK)), PEER);
        assert_eq!(send(&node, A, &tcp(&to_b, 5000, 53, ACK)), PEER);
        assert_eq!(send(&node, B, &tcp(&to_a, 53, 5000, ACK)), PEER);
        assert_eq!(send(&node, B, &tcp(&to_a, 5000, 53, SYN)), EGRESS, "a connection of its own");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_revoked_rule_cuts_packets_and_answers_at_once_and_a_new_one_needs_no_new_connection() {
    let node = node();
    let mut tables = dns(&node);
    for family in FAMILIES {
        let asks = A.sends(family, B.address(family)).ports(4000, 53);
        let answers = B.sends(family, A.address(family)).ports(53, 4000);
        assert_eq!((send(&node, A, &asks), send(&node, B, &answers)), (PEER, PEER));
        isolate(&node, B, 3, pod_flags::JUDGED);
        assert_eq!(
            (send(&node, A, &asks), send(&node, B, &answers)),
            (INGRESS, EGRESS),
            "{family:?}: revoked"
        );
        isolate(&node, B, 2, pod_flags::JUDGED);
        assert_eq!((send(&node, A, &asks), send(&node, B, &answers)), (PEER, PEER), "{family:?}: back");
        isolate(&node, A, 3, pod_flags::JUDGED);
        assert_eq!(
            (send(&node, A, &asks), send(&node, B, &answers)),
            (EGRESS, INGRESS),
            "{family:?}: at the sender"
        );
        isolate(&node, A, 1, pod_flags::JUDGED);
    }
    tables.list(key(4, 1, Direction::Egress), &[rule(30, UDP, 4000, 4000)], RuleVerdict::Deny);
    tables.list(key(4, 0, Direction::Ingress), &[], RuleVerdict::Deny);
    isolate(&node, B, 4, pod_flags::JUDGED);
    isolate(&node, A, 0, 0);
    for family in FAMILIES {
        assert_eq!(
            send(&node, B, &B.sends(family, A.address(family)).ports(53, 4000)),
            PEER,
            "by its own rule"
        );
    }
    let hits = tables.kernel.hits([30]).unwrap()[&30];
    assert_eq!(hits.packets, 2);
    assert!(hits.bytes > 2 * 20);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pod_that_only_receives_by_rules_may_open_connections_whose_answers_pass() {
    let node = node();
    dns(&node);
    isolate(&node, A, 3, pod_flags::JUDGE_INGRESS);
    isolate(&node, B, 0, 0);
    for family in FAMILIES {
        let (to_b, to_a) = (A.sends(family, B.address(family)), B.sends(family, A.address(family)));
        assert_eq!(send(&node, B, &to_a.clone().ports(9, 4000)), INGRESS);
        assert_eq!(send(&node, A, &to_b.clone().ports(4000, 9)), PEER);
        assert_eq!(send(&node, B, &to_a.clone().ports(9, 4000)), PEER);
        assert_eq!(send(&node, B, &to_a.clone().ports(9, 4001)), INGRESS);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn fragments_out_of_an_isolated_pod_follow_their_first_one_and_hide_no_ports() {
    let node = node();
    dns(&node);
    for family in FAMILIES {
        let to_b = |port| A.sends(family, B.address(family)).ports(4000, port);
        let later = || to_b(53).carrying_as(UDP).fragment(1480);
        assert_eq!(send(&node, A, &later()), BY_POLICY[3], "{family:?}: without a first one");
        assert_eq!(send(&node, A, &to_b(54).sized(1200).fragment(0)), EGRESS);
        assert_eq!(send(&node, A, &later()), BY_POLICY[3], "{family:?}: after one that did not pass");
        assert_eq!(send(&node, A, &to_b(53).sized(1200).fragment(0)), PEER);
        assert_eq!(send(&node, A, &later()), PEER, "{family:?}: after one that did");
        let short = A.sends(family, B.address(family)).carrying(UDP, vec![0; 4]).fragment(0);
        assert_eq!(send(&node, A, &short), BY_POLICY[3], "{family:?}: too short for its ports");
        let short = A.sends(family, B.address(family)).carrying(TCP, vec![0; 16]).fragment(0);
        assert_eq!(send(&node, A, &short), BY_POLICY[3], "{family:?}: too short for its flags");
        let tcp = A.sends(family, B.address(family)).carrying(TCP, vec![0; 24]).fragment(8);
        assert_eq!(send(&node, A, &tcp), BY_POLICY[3], "{family:?}: over the flags");
        isolate(&node, A, 0, 0);
        assert_eq!(
            send(&node, A, &later().to(B.address(family))),
            PEER,
            "{family:?}: towards an isolated pod"
        );
        isolate(&node, A, 1, pod_flags::JUDGED);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pod_that_has_all_its_connections_opens_no_more_and_takes_none_of_anothers() {
    let node = node();
    let mut tables = dns(&node);
    tables.list(key(5, 0, Direction::Egress), &[rule(50, UDP, 0, u16::MAX)], RuleVerdict::Deny);
    tables.list(key(5, 0, Direction::Ingress), &[], RuleVerdict::Deny);
    isolate(&node, A, 5, pod_flags::JUDGED);
    isolate(&node, B, 5, pod_flags::JUDGED);
    let far = Family::V4.outside();
    let full = BY_POLICY[2];
    // Flows of one bucket: to fill all of them takes longer than an idle one may claim its place.
    let ifindex = node.ifindex(A.interface);
    let bucket = |source: &u16| {
        let flow = FlowKey::between(A.address(Family::V4).into(), far.into(), UDP).with_ports(*source, 9);
        ((fingerprint(&flow) ^ u64::from(ifindex) << 1) >> 32) as u32 % STATE_BUCKETS
    };
    let sources: Vec<u16> =
        (1..=u16::MAX).filter(|source| bucket(source) == 7).take(STATE_WAYS + 1).collect();
    assert_eq!(sources.len(), STATE_WAYS + 1);
    let open = |pod: Pod, source: u16| send(&node, pod, &pod.sends(Family::V4, far).ports(source, 9));
    let outside = StackReason::Outside.into();
    let ends: Vec<Outcome> = sources.iter().map(|source| open(A, *source)).collect();
    assert_eq!(ends[..STATE_WAYS], [outside; STATE_WAYS]);
    assert_eq!(ends[STATE_WAYS], full);
    assert_eq!(open(A, sources[0]), outside, "one that is open");
    assert!(sources.iter().all(|source| open(B, *source) == outside), "another pod");
    assert_eq!(tables.kernel.keep_states_of(|other| other != ifindex).unwrap(), 1);
    assert_eq!(open(A, sources[STATE_WAYS]), outside);
}
