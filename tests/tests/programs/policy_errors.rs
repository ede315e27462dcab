//! ICMP errors of isolated pods: about flows that are there, and no more of them than a receiver needs.

use std::time::Duration;

use naru_abi::{Hook, Outcome, Verdict, pod_flags, policy::Direction};
use naru_e2e::{
    probe::forge::{Listener, send_frames},
    tool,
};

use crate::{
    frames::{Packet, forwarded},
    node::Node,
    policy::{BY_POLICY, Tables, echo, isolate, key, node, rule, send, tcp},
    run::run,
    traffic::{LivePod, bind},
    world::{A, B, FAMILIES, Family, Pod, add_routes},
};

const TCP: u8 = 6;
const UDP: u8 = 17;
const EGRESS: Outcome = BY_POLICY[0];
const PEER: Outcome = Outcome::Verdict(Verdict::Peer);
const SECRET: usize = 600;

/// A may send to port 53 of B by TCP and UDP, and is asked on port 80 and by echo; ICMP errors have no rule.
fn scene() -> (Node, Tables) {
    let node = node();
    let mut tables = Tables::new(&node);
    for family in FAMILIES {
        tables.place(B.address(family), 2, 0);
    }
    let (accept, deny) = (naru_abi::policy::RuleVerdict::Accept, naru_abi::policy::RuleVerdict::Deny);
    tables.list(key(1, 2, Direction::Egress), &[rule(1, UDP, 53, 53), rule(2, TCP, 53, 53)], deny);
    tables.list(key(1, 0, Direction::Egress), &[], deny);
    tables.list(key(1, 0, Direction::Ingress), &[], accept);
    tables.list(key(2, 0, Direction::Egress), &[rule(3, 1, 0, 0), rule(4, 58, 0, 0)], deny);
    tables.list(key(2, 0, Direction::Ingress), &[], deny);
    isolate(&node, A, 1, pod_flags::JUDGED);
    (node, tables)
}

/// A datagram from B to A with data that A quotes.
fn datagram(family: Family, source: u16, destination: u16) -> Packet {
    let mut packet = B.sends(family, A.address(family)).ports(source, destination);
    packet.payload.resize(SECRET, b'x');
    packet
}

/// An error of A that quotes all of a packet.
fn about(family: Family, packet: &Packet) -> Packet {
    A.sends(family, B.address(family)).reporting(packet, 2 * SECRET)
}

/// Sends an error of A, which must pass; returns what comes out.
fn passed(node: &Node, error: &[u8]) -> Vec<u8> {
    let ran = run(node, Hook::FromPod, node.ifindex(A.interface), error, None);
    assert_eq!(ran.action, crate::run::REDIRECT);
    ran.frame
}

/// Asserts that an error about `packet` passes with no more of it than 8 bytes behind its headers.
fn is_cut(node: &Node, family: Family, packet: &Packet, name: &str) {
    let short = A.sends(family, B.address(family)).reporting(packet, 8);
    let expected = forwarded(&short.frame(), B.mac(), B.host_mac());
    assert_eq!(passed(node, &about(family, packet).frame()), expected, "{family:?}: {name}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_error_out_of_an_isolated_pod_passes_cut_and_only_about_a_flow_that_exists() {
    let (node, _tables) = scene();
    for family in FAMILIES {
        let denied = |packet: &Packet, name: &str| {
            assert_eq!(send(&node, A, &about(family, packet)), EGRESS, "{family:?}: {name}");
        };
        let answer = datagram(family, 53, 4000);
        denied(&answer, "about an answer to nothing, though the rules allow the question");
        assert_eq!(send(&node, A, &A.sends(family, B.address(family)).ports(4000, 53)), PEER);
        is_cut(&node, family, &answer, "about the answer");
        denied(&datagram(family, 53, 4001), "about an answer to another port");
        denied(&datagram(family, 54, 4000), "about an answer from another port");

        let request = datagram(family, 7000, 80);
        denied(&request, "about a request that never came");
        assert_eq!(send(&node, B, &request), PEER);
        is_cut(&node, family, &request, "about the request");
        is_cut(&node, family, &request.clone().extended_v4(), "about one with options");

        let ping = echo(B.sends(family, A.address(family)), family, false, 9);
        denied(&ping, "about an echo that never came");
        assert_eq!(send(&node, B, &ping), PEER);
        is_cut(&node, family, &ping, "about the echo");

        let segment = tcp(B.sends(family, A.address(family)), 53, 5000, 16);
        denied(&segment, "about a segment of no connection");
        assert_eq!(send(&node, A, &tcp(A.sends(family, B.address(family)), 5000, 53, 2)), PEER);
        is_cut(&node, family, &segment, "about a segment of a connection");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_error_that_is_forged_or_says_too_little_stays_in_the_isolated_pod() {
    let (node, _tables) = scene();
    for family in FAMILIES {
        let (answer, request) = (datagram(family, 53, 4000), datagram(family, 7000, 80));
        assert_eq!(send(&node, A, &A.sends(family, B.address(family)).ports(4000, 53)), PEER);
        assert_eq!(send(&node, B, &request), PEER);
        let forged = [
            ("to somebody else", about(family, &answer).to(family.outside())),
            ("about a packet of its own", about(family, &A.sends(family, B.address(family)).ports(4000, 53))),
            ("about another pod's", about(family, &answer.clone().to(family.remote_pod()))),
            ("about a later fragment", about(family, &answer.clone().fragment(1480))),
            ("that quotes 7 bytes", A.sends(family, B.address(family)).reporting(&answer, 7)),
            ("that quotes no ports", A.sends(family, B.address(family)).reporting(&answer, 0)),
        ];
        for (name, packet) in forged {
            assert_eq!(send(&node, A, &packet), EGRESS, "{family:?}: {name}");
        }
        // The rules that allowed the question do so no more; that B asked is of no use to what A asked.
        isolate(&node, A, 2, pod_flags::JUDGE_EGRESS);
        let whole = passed(&node, &about(family, &answer).frame());
        assert!(whole.len() > SECRET, "{family:?}: rules that allow ICMP itself");
        isolate(&node, A, naru_abi::policy::CLOSED_SUBJECT, pod_flags::JUDGED);
        assert_eq!(send(&node, A, &about(family, &answer)), EGRESS, "{family:?}: revoked");
        isolate(&node, A, 0, 0);
        assert_eq!(passed(&node, &about(family, &answer).frame()), {
            forwarded(&about(family, &answer).frame(), B.mac(), B.host_mac())
        });
        isolate(&node, A, 1, pod_flags::JUDGED);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_cut_error_carries_nothing_behind_its_packet_and_no_extension() {
    let (node, _tables) = scene();
    for family in FAMILIES {
        let request = datagram(family, 7000, 80);
        assert_eq!(send(&node, B, &request), PEER);
        let sends = || A.sends(family, B.address(family));
        // Time exceeded; its quote has 32 words of 4 bytes, or 16 of 8, before an extension.
        let (kind, with, without) = match family {
            Family::V4 => ([11, 0], [0, 32, 0, 0], [0; 4]),
            Family::V6 => ([3, 0], [16, 0, 0, 0], [0; 4]),
        };
        let mut frame = sends().reporting_as(kind, with, &request, SECRET).frame();
        frame.extend([b'x'; 100]);
        let expected = sends().reporting_as(kind, without, &request, 8).frame();
        assert_eq!(passed(&node, &frame), forwarded(&expected, B.mac(), B.host_mac()), "{family:?}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_error_towards_an_isolated_pod_passes_whole() {
    let (node, _tables) = scene();
    for family in FAMILIES {
        let question = A.sends(family, B.address(family)).ports(4000, 53);
        assert_eq!(send(&node, A, &question), PEER);
        isolate(&node, A, 2, pod_flags::JUDGED);
        isolate(&node, A, 1, pod_flags::JUDGED);
        let from = |pod: Pod| pod.sends(family, A.address(family));
        let error = from(B).reporting(&question, SECRET);
        let ran = run(&node, Hook::FromPod, node.ifindex(B.interface), &error.frame(), None);
        assert_eq!(ran.frame, forwarded(&error.frame(), A.mac(), A.host_mac()), "{family:?}");
    }
}

/// B, which is not isolated, and A, which may send nothing by itself.
fn live(subject: u32) -> (Node, [LivePod; 2], Tables) {
    let node = Node::new();
    let mut tables = Tables::new(&node);
    add_routes(&node, |family| family);
    let pods = [LivePod::new(&node, A), LivePod::new(&node, B)];
    tables.list(key(subject, 0, Direction::Egress), &[], naru_abi::policy::RuleVerdict::Deny);
    isolate(&node, A, subject, pod_flags::JUDGE_EGRESS);
    (node, pods, tables)
}

/// Packets of a pod with raw sockets: about everything that a pod could have sent to it, and about what it never could.
fn forgeries(family: Family) -> Vec<Packet> {
    let secret = |packet: Packet| {
        let mut packet = packet;
        packet.payload.extend_from_slice(MARK);
        packet
    };
    let back = || B.sends(family, A.address(family));
    let quoted = [
        back().ports(53, 4000),
        tcp(back(), 80, 5000, 16),
        tcp(back(), 5000, 80, 2),
        echo(back(), family, false, 9),
        echo(back(), family, true, 9),
        back().ports(53, 4000).fragment(0),
        back().carrying_as(UDP).fragment(1480),
        back().carrying(132, vec![0; 16]),
        back().carrying(47, vec![0; 8]),
        A.sends(family, B.address(family)).ports(4000, 53),
    ];
    let kinds: &[[u8; 2]] = match family {
        Family::V4 => &[[3, 1], [3, 3], [3, 4], [3, 13], [4, 0], [5, 1], [11, 0], [11, 1], [12, 0]],
        Family::V6 => &[[1, 0], [1, 4], [2, 0], [3, 0], [3, 1], [4, 0], [100, 0], [127, 255]],
    };
    let of = |kind: &[u8; 2]| {
        let errors = quoted.clone().map(|about| {
            A.sends(family, B.address(family)).reporting_as(*kind, *b"mark", &secret(about), SECRET)
        });
        errors.into_iter().collect::<Vec<_>>()
    };
    kinds.iter().flat_map(of).collect()
}

/// Bytes that must not get out.
const MARK: &[u8] = b"a secret of the pod";

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pod_that_is_denied_egress_gets_no_byte_out_by_forged_icmp_errors() {
    let (node, [a, b], _tables) = live(7);
    let arrived = Listener::start(b.netns(), "eth0", b"mark").unwrap();
    let stats = || node.datapath().stats().unwrap().totals().unwrap();
    let dropped = || -> u64 {
        let of = |total: &&naru_bpf::Total| total.hook == Hook::FromPod && total.outcome == EGRESS;
        stats().iter().filter(of).map(|total| total.counter.packets).sum()
    };
    let before = dropped();
    let frames: Vec<_> = FAMILIES.into_iter().flat_map(forgeries).map(|packet| packet.frame()).collect();
    send_frames(a.netns(), "eth0", &frames).unwrap();
    let is_all = || dropped() - before == frames.len() as u64;
    assert!(
        tool::holds_within(Duration::from_secs(10), is_all),
        "{} of {}",
        dropped() - before,
        frames.len()
    );
    assert_eq!(arrived.stop().unwrap(), 0);
}

/// The kernel of the one that asked takes the cut error for what it is.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_error_about_a_datagram_reaches_the_pod_that_sent_it_without_its_data() {
    let (_node, [_a, b], _tables) = live(7);
    for family in FAMILIES {
        let arrived = Listener::start(b.netns(), "eth0", MARK).unwrap();
        let (own, closed) = (B.address(family), (A.address(family), 9));
        let refused = b.netns().run(|| {
            let socket = bind(own, 0);
            socket.connect(closed)?;
            socket.send(&[&[0; 100][..], MARK].concat())?;
            Ok(socket.recv(&mut [0; 8]).unwrap_err().kind())
        });
        assert_eq!(refused.unwrap(), std::io::ErrorKind::ConnectionRefused, "{family:?}");
        assert_eq!(arrived.stop().unwrap(), 0, "{family:?}");
    }
}
