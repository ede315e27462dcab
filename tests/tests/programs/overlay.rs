//! Real tunnel packets: a far end made of a socket, ours of a vxlan device with the programs.

use std::{
    net::{IpAddr, UdpSocket},
    time::Duration,
};

use naru_abi::{
    DropReason::{self, ForeignInnerSource, ForeignKey, ForeignOuterSource, NotForThisNode},
    Hook, Outcome, StackReason, Verdict,
};
use naru_bpf::{AttachMode, Side, attach};
use naru_e2e::{
    netns::{Netns, Scratch},
    tool::{self, holds_within},
    wire::ethernet,
};

use crate::{
    frames::Packet,
    kernel::has_tcx,
    node::{Node, PORT, VNI, config, ip, unique},
    run::growth,
    traffic::{LivePod, bind},
    world::{A, BY_STACK, FAMILIES, Family, PATH_MTU, POD_MTU, add_pod, add_routes},
};

/// Ends that only a real tunnel packet can come to.
pub const BY_WIRE: [Outcome; 4] = [
    Outcome::Drop(ForeignOuterSource),
    Outcome::Drop(ForeignInnerSource),
    Outcome::Drop(ForeignKey),
    Outcome::Drop(NotForThisNode),
];

/// A node with an underlay of one family, its far end, and pod A.
pub struct Tunnel {
    pub node: Node,
    far: Scratch,
    pod: LivePod,
    pub underlay: Family,
}

impl Tunnel {
    pub fn new(underlay: Family, mode: AttachMode) -> Self {
        let node = Node::new();
        let far = Scratch::create(&unique()).unwrap();
        node.ip(&format!("link add name u0 type veth peer name u1 netns {}", far.netns().name()));
        for (netns, device, own) in [(node.netns(), "u0", 1), (far.netns(), "u1", 2)] {
            // Without a link-local address that is past its detection no neighbour is asked for in the name of a pod.
            tool::run(netns, &format!("sysctl -qw net.ipv6.conf.{device}.accept_dad=0")).unwrap();
            ip(netns, &format!("address add 192.0.2.{own}/24 dev {device}"));
            ip(netns, &format!("address add 2001:db8::{own}/64 dev {device} nodad"));
            ip(netns, &format!("link set {device} up"));
        }
        ip(far.netns(), "address add 192.0.2.3/24 dev u1");
        ip(far.netns(), "address add 2001:db8::3/64 dev u1 nodad");
        node.ip(&format!("link add name vx type vxlan external dstport {PORT} udp6zerocsumrx"));
        node.ip("link set vx up");
        add_routes(&node, |_| underlay);
        node.ip("link add name pod3 type veth peer name pod3p");
        add_pod(&node, BY_STACK);
        node.datapath().config().unwrap().set(config(node.ifindex("vx"))).unwrap();
        node.run(|| attach(&node.pins, Side::Overlay, "vx", mode).unwrap());
        let pod = LivePod::new(&node, A);
        Self { node, far, pod, underlay }
    }

    pub fn far(&self) -> &Netns {
        self.far.netns()
    }

    /// Sends `frame` in a tunnel packet, and returns where it came to an end in `from_overlay`.
    fn send(&self, source: IpAddr, vni: u32, frame: &[u8]) -> Vec<(Outcome, u64)> {
        let stats = self.node.datapath().stats().unwrap();
        let before = stats.totals().unwrap();
        let ends = || -> Vec<(Outcome, u64)> {
            let grown = growth(&stats, &before).into_iter().filter(|total| total.hook == Hook::FromOverlay);
            grown.map(|total| (total.outcome, total.counter.packets)).collect()
        };
        let datagram = ethernet::vxlan(vni, frame);
        let to = (self.underlay.local_node(), PORT);
        self.far().run(|| Ok(UdpSocket::bind((source, 0))?.send_to(&datagram, to)?)).unwrap();
        holds_within(Duration::from_secs(20), || !ends().is_empty());
        ends()
    }
}

/// A packet of the remote pod to pod A.
pub fn from_far(family: Family) -> Packet {
    A.sends(family, A.address(family)).from(family.remote_pod())
}

pub struct Case {
    pub name: &'static str,
    pub source: IpAddr,
    pub vni: u32,
    pub packet: Packet,
    pub outcome: Outcome,
}

pub fn cases(family: Family, underlay: Family) -> Vec<Case> {
    let far = underlay.remote_node();
    let stranger = underlay.pick("192.0.2.3", "2001:db8::3");
    let whole = from_far(family);
    let case = |name, packet: &Packet, outcome: Outcome| {
        let packet = packet.clone();
        Case { name, source: far, vni: VNI, packet, outcome }
    };
    let drop = Outcome::Drop;
    let stack = Outcome::Stack;
    vec![
        case("to a pod", &whole, Verdict::Peer.into()),
        case("the remote node to a pod", &whole.clone().from(family.remote_node()), Verdict::Peer.into()),
        case("a fragment", &whole.clone().fragment(1400), Verdict::Peer.into()),
        Case { source: stranger, ..case("another host", &whole, drop(ForeignOuterSource)) },
        Case { vni: VNI + 1, ..case("another cluster", &whole, drop(ForeignKey)) },
        case("a source outside", &whole.clone().from(family.outside()), drop(ForeignInnerSource)),
        case("our own pod's source", &whole.clone().from(A.address(family)), drop(ForeignInnerSource)),
        case("our own node's source", &whole.clone().from(family.local_node()), drop(ForeignInnerSource)),
        case("to the outside", &whole.clone().to(family.outside()), drop(NotForThisNode)),
        case("to its own pod", &whole.clone().to(family.remote_pod()), drop(NotForThisNode)),
        case("to a group", &whole.clone().to(family.pick("239.1.1.1", "ff0e::1")), drop(NotForThisNode)),
        case("to the node", &whole.clone().to(family.local_node()), stack(StackReason::LocalNode)),
        case("to no pod", &whole.clone().to(family.unassigned()), stack(StackReason::Unassigned)),
        case("the last hop", &whole.clone().hops(1), stack(StackReason::TtlExpired)),
        case("options", &whole.clone().extended(), stack(StackReason::Options)),
        case("too big", &whole.clone().sized(POD_MTU as usize + 1), stack(StackReason::TooBig)),
        case("no shortcut", &whole.clone().to(BY_STACK.address(family)), stack(StackReason::NoShortcut)),
        case("an empty packet", &whole.carrying(59, vec![]), Verdict::Peer.into()),
    ]
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_tunnel_packet_comes_to_its_one_end_whatever_the_family_outside() {
    for underlay in FAMILIES {
        let tunnel = Tunnel::new(underlay, AttachMode::Auto);
        let mut seen = Vec::new();
        for family in FAMILIES {
            for case in cases(family, underlay) {
                let ends = tunnel.send(case.source, case.vni, &case.packet.frame());
                assert_eq!(ends, [(case.outcome, 1)], "{family:?} in {underlay:?}: {}", case.name);
                seen.push(case.outcome);
            }
        }
        for outcome in BY_WIRE {
            assert!(seen.contains(&outcome), "{outcome:?}");
        }
        not_ip(&tunnel);
    }
}

fn not_ip(tunnel: &Tunnel) {
    let far = tunnel.underlay.remote_node();
    let ends = [(ethernet::ARP, DropReason::ForeignNeighbour), (0x88cc, DropReason::UnknownEthertype)];
    for (ethertype, reason) in ends {
        let frame = ethernet::frame([0xff; 6], [2; 6], ethertype, &[0; 46]);
        assert_eq!(tunnel.send(far, VNI, &frame), [(Outcome::Drop(reason), 1)], "{ethertype:x}");
    }
}

/// Both attach modes, where the kernel has them.
fn modes() -> Vec<AttachMode> {
    let tcx = has_tcx().then_some(AttachMode::Tcx);
    tcx.into_iter().chain([AttachMode::Clsact]).collect()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pod_talks_through_the_tunnel_in_each_mode_and_family() {
    for (underlay, mode) in FAMILIES.into_iter().zip(modes().into_iter().cycle()) {
        let tunnel = Tunnel::new(underlay, mode);
        for family in FAMILIES {
            receives(&tunnel, family);
            sends(&tunnel, family);
        }
    }
}

fn receives(tunnel: &Tunnel, family: Family) {
    let (ready, is_ready) = std::sync::mpsc::channel();
    let own = A.address(family);
    let receiver = tunnel.pod.netns().spawn(move || {
        let socket = bind(own, 53);
        ready.send(()).unwrap();
        let mut bytes = [0; 100];
        let (length, from) = socket.recv_from(&mut bytes)?;
        Ok((bytes[..length].to_vec(), from.ip()))
    });
    is_ready.recv().unwrap();
    let frame = from_far(family).checked().frame();
    assert_eq!(tunnel.send(tunnel.underlay.remote_node(), VNI, &frame), [(Verdict::Peer.into(), 1)]);
    assert_eq!(receiver.join().unwrap(), (b"naru".to_vec(), family.remote_pod()));
}

fn sends(tunnel: &Tunnel, family: Family) {
    let (ready, is_ready) = std::sync::mpsc::channel();
    let outer = tunnel.underlay.remote_node();
    let receiver = tunnel.far().spawn(move || {
        let socket = bind(outer, PORT);
        ready.send(()).unwrap();
        let mut bytes = vec![0; 2000];
        let (length, from) = socket.recv_from(&mut bytes)?;
        Ok((bytes[..length].to_vec(), from.ip()))
    });
    is_ready.recv().unwrap();
    let (own, other) = (A.address(family), family.remote_pod());
    let length = PATH_MTU as usize - family.header() - 8;
    tunnel.pod.netns().run(|| Ok(bind(own, 777).send_to(&vec![7; length], (other, 888))?)).unwrap();
    let (datagram, from) = receiver.join().unwrap();
    assert_eq!(from, tunnel.underlay.local_node());
    assert_eq!(datagram[..8], ethernet::vxlan(VNI, &[]));
    let packet = &datagram[8 + 14..];
    assert_eq!(packet.len(), PATH_MTU as usize);
    let (hops, addresses) = if family == Family::V4 { (packet[8], 12) } else { (packet[7], 8) };
    assert_eq!(hops, 63);
    let expected = naru_e2e::wire::ip::packet(own, other, 17, &[]);
    assert_eq!(packet[addresses..family.header()], expected[addresses..family.header()]);
}
