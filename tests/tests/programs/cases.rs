//! The table: packets, and the outcomes that they must have.

use std::net::Ipv4Addr;

use naru_abi::{
    DropReason as Drop, FlowKey,
    Hook::{self, FromOverlay, FromPod, ToOverlay, ToPod},
    LinkReason as Link, Outcome, StackReason as Stack, Verdict,
};
use naru_e2e::wire::{ethernet, ip};

use crate::{
    flows,
    frames::{Mac, Packet, arp, discovery, forwarded},
    run::Gso,
    uplink,
    world::{A, ANY_SOURCE, B, BY_DHCP, BY_STACK, FIXED_MAC, Family, PATH_MTU, POD_MTU, Pod},
};

const STRANGER: Mac = [2, 0, 0, 0, 9, 9];

#[derive(Clone)]
pub struct Case {
    pub name: String,
    pub hook: Hook,
    pub pod: Pod,
    pub frame: Vec<u8>,
    pub gso: Option<Gso>,
    /// True if `CONFIG` is set.
    pub is_ready: bool,
    /// Bits of `naru_abi::features`.
    pub features: u32,
    pub outcome: Outcome,
    /// Contents of `FLOWS` before the packet.
    pub known: Vec<FlowKey>,
    /// For how many more `FLOWS` has room, if that matters.
    pub room: Option<usize>,
    /// Entries that the packet adds to `FLOWS`.
    pub recorded: Vec<FlowKey>,
    /// Contents of `FLOW_PAIRS` before the packet.
    pub known_pairs: Vec<FlowKey>,
    /// True if `FLOW_PAIRS` has no room for more.
    pub is_full_of_pairs: bool,
    /// Entries that the packet adds to `FLOW_PAIRS`.
    pub paired: Vec<FlowKey>,
    /// The frame as it leaves, where it is not as it came.
    pub output: Option<Vec<u8>>,
}

impl Case {
    pub fn new(name: &str, hook: Hook, pod: Pod, frame: Vec<u8>, outcome: impl Into<Outcome>) -> Self {
        Self {
            name: name.to_owned(),
            hook,
            pod,
            frame,
            gso: None,
            is_ready: true,
            features: 0,
            outcome: outcome.into(),
            known: Vec::new(),
            room: None,
            recorded: Vec::new(),
            known_pairs: Vec::new(),
            is_full_of_pairs: false,
            paired: Vec::new(),
            output: None,
        }
    }

    /// These flows are recorded before.
    pub fn knows(mut self, flows: &[FlowKey]) -> Self {
        self.known = flows.to_vec();
        self
    }

    /// These flows are recorded before, and so many others, and pairs of hosts, that there is no room for more.
    pub fn full(self, flows: &[FlowKey]) -> Self {
        Self { is_full_of_pairs: true, ..self.with_room(0).knows(flows) }
    }

    /// All packets between these hosts are the stack's.
    pub fn knows_pairs(mut self, pairs: &[FlowKey]) -> Self {
        self.known_pairs = pairs.to_vec();
        self
    }

    /// The packet is recorded by the hosts alone.
    pub fn pairs(mut self, pairs: &[FlowKey]) -> Self {
        self.paired = pairs.to_vec();
        self
    }

    /// There is room for so many flows more.
    pub fn with_room(mut self, room: usize) -> Self {
        self.room = Some(room);
        self
    }

    /// The packet is recorded so.
    pub fn records(mut self, flows: &[FlowKey]) -> Self {
        self.recorded = flows.to_vec();
        self
    }

    pub fn leaves_as(mut self, output: Vec<u8>) -> Self {
        self.output = Some(output);
        self
    }

    /// It is forwarded with these addresses.
    pub fn forwarded(self, destination: Mac, source: Mac) -> Self {
        let output = forwarded(&self.frame, destination, source);
        self.leaves_as(output)
    }

    fn gso(mut self, segments: u32, size: usize) -> Self {
        self.gso = Some(Gso { segments, size: u32::try_from(size).unwrap() });
        self
    }

    /// With these bits of `naru_abi::features`.
    pub fn with(mut self, features: u32) -> Self {
        self.features = features;
        self
    }

    fn unready(mut self) -> Self {
        self.is_ready = false;
        self
    }
}

pub fn from_pod(name: &str, packet: &Packet, outcome: impl Into<Outcome>) -> Case {
    Case::new(name, FromPod, A, packet.frame(), outcome)
}

pub fn to_peer(name: &str, packet: &Packet) -> Case {
    from_pod(name, packet, Verdict::Peer).forwarded(B.mac(), B.host_mac())
}

pub fn to_tunnel(name: &str, packet: &Packet) -> Case {
    from_pod(name, packet, Verdict::Tunnel).forwarded(A.host_mac(), A.host_mac())
}

/// Every case of one family.
pub fn cases(family: Family) -> Vec<Case> {
    let mut all = Vec::new();
    all.extend(shortcuts(family));
    all.extend(sizes(family));
    all.extend(left_to_stack(family));
    all.extend(sources(family));
    all.extend(tunnel_port(family));
    all.extend(links(family));
    all.extend(match family {
        Family::V4 => [arp_messages(), dhcp_requests()].concat(),
        Family::V6 => discovery_messages(),
    });
    all.extend(malformed(family));
    all.extend(other_hooks(family));
    all.extend(uplink::cases(family));
    all.extend(flows::cases(family));
    all
}

fn shortcuts(family: Family) -> Vec<Case> {
    let to_b = A.sends(family, B.address(family));
    let to_far = A.sends(family, family.remote_pod());
    vec![
        to_peer("UDP to a pod", &to_b),
        to_peer("TCP to a pod", &to_b.clone().tcp(100)),
        to_peer("SCTP to a pod", &to_b.clone().carrying(132, vec![1; 40])),
        to_peer("GRE to a pod", &to_b.clone().carrying(47, vec![1; 40])),
        to_peer("an empty packet to a pod", &to_b.clone().carrying(59, vec![])),
        to_peer("a first fragment to a pod", &to_b.clone().fragment(0)),
        to_peer("a later fragment to a pod", &to_b.clone().fragment(1400)),
        to_peer("two hops left", &to_b.clone().hops(2)),
        to_peer("255 hops left", &to_b.clone().hops(255)),
        to_tunnel("UDP to a remote pod", &to_far),
        to_tunnel("a fragment to a remote pod", &to_far.clone().fragment(1400)),
        to_tunnel("TCP to a remote node", &to_far.clone().to(family.remote_node()).tcp(10)),
        to_tunnel("UDP to a remote node", &to_far.to(family.remote_node())),
    ]
}

fn sizes(family: Family) -> Vec<Case> {
    let to_b = A.sends(family, B.address(family));
    let to_far = A.sends(family, family.remote_pod());
    let (pod_mtu, path_mtu) = (POD_MTU as usize, PATH_MTU as usize);
    let room = pod_mtu - family.header() - 20;
    let stream = to_b.clone().tcp(3000);
    let datagrams = to_b.clone().udp(7).sized(2000);
    vec![
        to_peer("as large as the pod takes", &to_b.clone().sized(pod_mtu)),
        from_pod("larger than the pod takes", &to_b.clone().sized(pod_mtu + 1), Stack::TooBig),
        to_tunnel("as large as the path", &to_far.clone().sized(path_mtu)),
        from_pod("larger than the path", &to_far.sized(path_mtu + 1), Stack::TooBig),
        to_peer("segments as large as the pod takes", &stream).gso(3, room),
        from_pod("segments larger than the pod takes", &stream, Stack::TooBig).gso(3, room + 1),
        to_peer("UDP segments as large as the pod takes", &datagrams).gso(2, room + 12),
        from_pod("UDP segments larger than the pod takes", &datagrams, Stack::TooBig).gso(2, room + 13),
        from_pod("segments of a protocol unknown", &to_b.carrying(132, vec![0; 2000]), Stack::TooBig)
            .gso(2, 100),
    ]
}

fn left_to_stack(family: Family) -> Vec<Case> {
    let to_b = A.sends(family, B.address(family));
    let from_c = BY_STACK.sends(family, B.address(family)).frame();
    let from_c_far = BY_STACK.sends(family, family.remote_pod()).frame();
    let group = family.pick("239.1.1.1", "ff0e::1:1");
    vec![
        from_pod("to the outside", &to_b.clone().to(family.outside()), Stack::Outside),
        from_pod("to the outside, last hop", &to_b.clone().to(family.outside()).hops(1), Stack::Outside),
        from_pod("to the own node", &to_b.clone().to(family.local_node()), Stack::LocalNode),
        from_pod("to an address no pod holds", &to_b.clone().to(family.unassigned()), Stack::Unassigned),
        from_pod("the last hop", &to_b.clone().hops(1), Stack::TtlExpired),
        from_pod("no hop left", &to_b.clone().hops(0), Stack::TtlExpired),
        from_pod(
            "the last hop to a remote pod",
            &to_b.clone().to(family.remote_pod()).hops(1),
            Stack::TtlExpired,
        ),
        from_pod("options", &to_b.clone().extended(), Stack::Options),
        from_pod("options to a remote pod", &to_b.clone().to(family.remote_pod()).extended(), Stack::Options),
        from_pod("to a group", &to_b.clone().to(group), Stack::Multicast),
        from_pod("to a pod without the shortcut", &to_b.to(BY_STACK.address(family)), Stack::NoShortcut),
        Case::new("from a pod without the shortcut", FromPod, BY_STACK, from_c, Stack::NoShortcut),
        Case::new("from there to a remote pod", FromPod, BY_STACK, from_c_far, Stack::NoShortcut),
    ]
}

fn sources(family: Family) -> Vec<Case> {
    let to_b = A.sends(family, B.address(family));
    let fixed = FIXED_MAC.sends(family, B.address(family));
    let any = ANY_SOURCE.sends(family, B.address(family)).from(family.outside());
    let peer = (B.mac(), B.host_mac());
    vec![
        from_pod("another pod's source", &to_b.clone().from(B.address(family)), Drop::SpoofedSource),
        from_pod("a source from outside", &to_b.clone().from(family.outside()), Drop::SpoofedSource),
        from_pod("the node's source", &to_b.clone().from(family.local_node()), Drop::SpoofedSource),
        from_pod(
            "a forged source to the outside",
            &to_b.from(family.outside()).to(family.outside()),
            Drop::SpoofedSource,
        ),
        Case::new("the assigned MAC", FromPod, FIXED_MAC, fixed.frame(), Verdict::Peer)
            .forwarded(peer.0, peer.1),
        Case::new("another MAC", FromPod, FIXED_MAC, fixed.source_mac(STRANGER).frame(), Drop::SpoofedMac),
        Case::new("any source permitted", FromPod, ANY_SOURCE, any.frame(), Verdict::Peer)
            .forwarded(peer.0, peer.1),
    ]
}

fn tunnel_port(family: Family) -> Vec<Case> {
    let own = A.sends(family, family.local_node()).udp(8472);
    let far = A.sends(family, family.remote_node()).udp(8472);
    let mut cases = vec![
        from_pod("the own node's tunnel port", &own, Drop::TunnelPort),
        from_pod("a remote node's tunnel port", &far, Drop::TunnelPort),
        from_pod("the tunnel port behind options", &own.clone().extended(), Drop::TunnelPort),
        from_pod("the tunnel port in a first fragment", &own.clone().fragment(0), Drop::TunnelPort),
        from_pod("a later fragment to the node", &own.clone().fragment(8), Stack::LocalNode),
        from_pod("the tunnel port of a pod", &own.clone().to(family.unassigned()), Stack::Unassigned),
        from_pod("that port by TCP", &A.sends(family, family.local_node()).tcp(0), Stack::LocalNode),
        from_pod("UDP cut before its port", &own.clone().carrying(17, vec![0; 3]), Drop::Malformed),
    ];
    if family == Family::V6 {
        // Nine destination option headers, each naming the next one.
        let chain = [60, 0, 1, 4, 0, 0, 0, 0].repeat(9);
        cases.push(from_pod("a chain of headers without end", &own.carrying(60, chain), Drop::Malformed));
    }
    cases
}

fn links(family: Family) -> Vec<Case> {
    let to_b = A.sends(family, B.address(family));
    let local = family.pick("169.254.7.7", "fe80::7");
    let unspecified = family.pick("0.0.0.0", "::");
    let reports = family.pick("224.0.0.22", "ff02::16");
    let routers = A.sends(family, family.pick("224.0.0.2", "ff02::2")).hops(1);
    let solicits = match family {
        Family::V4 => routers.clone().carrying(1, vec![10; 8]),
        Family::V6 => routers.clone().carrying(58, vec![133; 8]),
    };
    let membership = |packet: Packet| match family {
        Family::V4 => packet.to(reports).hops(1).extended().carrying(2, vec![0x22; 8]),
        Family::V6 => {
            // Behind hop-by-hop options with a router alert.
            let alert = [58, 0, 5, 2, 0, 0, 1, 0, 143, 0, 0, 0, 0, 0, 0, 0];
            packet.to(reports).hops(1).carrying(0, alert.to_vec())
        }
    };
    vec![
        from_pod("a link-local source", &to_b.clone().from(local), Drop::LinkLocal),
        from_pod("no source", &to_b.clone().from(unspecified), Drop::LinkLocal),
        from_pod("a router solicitation", &solicits, Link::RouterSolicitation),
        from_pod("one from a link-local address", &solicits.clone().from(local), Link::RouterSolicitation),
        from_pod("one without a source", &solicits.clone().from(unspecified), Link::RouterSolicitation),
        from_pod(
            "one that is beyond the link",
            &solicits.clone().from(local).to(family.outside()),
            Drop::LinkLocal,
        ),
        from_pod("one in another's name", &solicits.from(B.address(family)), Drop::SpoofedSource),
        from_pod("a membership report", &membership(to_b.clone()), Link::GroupMembership),
        from_pod(
            "a report from a link-local address",
            &membership(to_b.clone().from(local)),
            Link::GroupMembership,
        ),
        from_pod(
            "a report without a source",
            &membership(to_b.clone().from(unspecified)),
            Link::GroupMembership,
        ),
        from_pod(
            "multicast DNS",
            &to_b.to(family.pick("224.0.0.251", "ff02::fb")).udp(5353),
            Drop::LinkLocal,
        ),
        Case::new(
            "LLDP",
            FromPod,
            A,
            ethernet::frame([1; 6], A.mac(), 0x88cc, &[0; 46]),
            Drop::UnknownEthertype,
        ),
        Case::new(
            "a VLAN tag",
            FromPod,
            A,
            ethernet::frame([2; 6], A.mac(), 0x88a8, &[0; 46]),
            Drop::UnknownEthertype,
        ),
    ]
}

/// The broadcast of a DHCP client that has no address yet, and packets that only resemble it.
fn dhcp_requests() -> Vec<Case> {
    let (nobody, everybody) = (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into());
    let asks = |pod: Pod| pod.sends(Family::V4, everybody).from(nobody).ports(68, 67);
    let case =
        |name, pod, packet: Packet, outcome: Outcome| Case::new(name, FromPod, pod, packet.frame(), outcome);
    let dropped = Drop::LinkLocal.into();
    vec![
        case("DHCP where it gives the addresses", BY_DHCP, asks(BY_DHCP), Stack::Multicast.into()),
        case("DHCP elsewhere", A, asks(A), dropped),
        case("a DHCP server's port", BY_DHCP, asks(BY_DHCP).ports(67, 68), dropped),
        case("DHCP to one", BY_DHCP, asks(BY_DHCP).to(Family::V4.local_node()), dropped),
        case("a later fragment of DHCP", BY_DHCP, asks(BY_DHCP).fragment(1400), dropped),
        case("no address and no DHCP", BY_DHCP, asks(BY_DHCP).tcp(10), dropped),
        case("DHCP cut short", BY_DHCP, asks(BY_DHCP).carrying(ip::UDP, vec![0, 68, 0]), dropped),
    ]
}

fn arp_messages() -> Vec<Case> {
    let v4 = Family::V4;
    let (own, gateway, other) = (A.address(v4), v4.gateway(), B.address(v4));
    let none = v4.pick("0.0.0.0", "::");
    let answer = arp(2, A.host_mac(), gateway, A.mac(), own);
    let case = |name, frame, outcome: Outcome| Case::new(name, FromPod, A, frame, outcome);
    let foreign: Outcome = Drop::ForeignNeighbour.into();
    let fixed = FIXED_MAC.address(v4);
    let any = arp(1, ANY_SOURCE.mac(), v4.outside(), [0; 6], gateway);
    let any_answer = arp(2, ANY_SOURCE.host_mac(), gateway, ANY_SOURCE.mac(), v4.outside());
    let mut cut = arp(1, A.mac(), own, [0; 6], gateway);
    cut.truncate(40);
    vec![
        case("ARP for the gateway", arp(1, A.mac(), own, [0; 6], gateway), Verdict::Answer.into())
            .leaves_as(answer),
        case("ARP for another pod", arp(1, A.mac(), own, [0; 6], other), foreign),
        case("ARP for the gateway in another's name", arp(1, A.mac(), other, [0; 6], gateway), foreign),
        case("gratuitous ARP", arp(1, A.mac(), own, [0; 6], own), Link::NeighbourAnnouncement.into()),
        case(
            "a gratuitous ARP reply",
            arp(2, A.mac(), own, A.mac(), own),
            Link::NeighbourAnnouncement.into(),
        ),
        case("gratuitous ARP for another pod", arp(1, A.mac(), other, [0; 6], other), foreign),
        case("gratuitous ARP for the gateway", arp(2, A.mac(), gateway, [0; 6], gateway), foreign),
        case(
            "a probe for the own address",
            arp(1, A.mac(), none, [0; 6], own),
            Link::NeighbourAnnouncement.into(),
        ),
        case("a probe for the gateway", arp(1, A.mac(), none, [0; 6], gateway), foreign),
        case("ARP cut short", cut, Drop::Malformed.into()),
        case("ARP of an unknown operation", arp(9, A.mac(), own, [0; 6], gateway), Drop::Malformed.into()),
        Case::new(
            "ARP from another MAC",
            FromPod,
            FIXED_MAC,
            arp(1, STRANGER, fixed, [0; 6], gateway),
            Drop::SpoofedMac,
        ),
        Case::new("ARP from a permitted source", FromPod, ANY_SOURCE, any, Verdict::Answer)
            .leaves_as(any_answer),
    ]
}

fn discovery_messages() -> Vec<Case> {
    let v6 = Family::V6;
    let (own, gateway, other) = (A.address(v6), v6.gateway(), B.address(v6));
    let (local, none) = (v6.pick("", "fe80::7"), v6.pick("", "::"));
    let (group, all) = (v6.pick("", "ff02::1:ff00:1"), v6.pick("", "ff02::1"));
    let macs = ([0x33, 0x33, 0xff, 0, 0, 1], A.mac());
    let ask = |source, target| discovery(135, macs, source, group, target);
    let tell = |target| discovery(136, macs, own, all, target);
    let answer = |asker| discovery(136, (A.mac(), A.host_mac()), gateway, asker, gateway);
    let case = |name, frame, outcome: Outcome| Case::new(name, FromPod, A, frame, outcome);
    let foreign: Outcome = Drop::ForeignNeighbour.into();
    let mut far = ask(own, gateway);
    far[14 + 7] = 64;
    let mut cut = ask(own, gateway);
    cut.truncate(14 + 40 + 20);
    cut[14 + 5] = 20;
    let fixed = discovery(135, (macs.0, STRANGER), FIXED_MAC.address(v6), group, gateway);
    let mut odd = ask(own, gateway);
    odd[14 + 40 + 24] = 14;
    vec![
        case("NS for the gateway", ask(own, gateway), Verdict::Answer.into()).leaves_as(answer(own)),
        case("NS from a link-local address", ask(local, gateway), Verdict::Answer.into())
            .leaves_as(answer(local)),
        case("NS for another pod", ask(own, other), foreign),
        case("NS for the gateway in another's name", ask(other, gateway), foreign),
        case("NA for the own address", tell(own), Link::NeighbourAnnouncement.into()),
        case("NA for another pod", tell(other), foreign),
        case("NA for the gateway", tell(gateway), foreign),
        case("NA for a link-local address", tell(local), Link::NeighbourAnnouncement.into()),
        case("address detection, own address", ask(none, own), Link::NeighbourAnnouncement.into()),
        case("address detection, link-local address", ask(none, local), Link::NeighbourAnnouncement.into()),
        case("address detection, gateway", ask(none, gateway), foreign),
        case("NS from beyond the link", far, Drop::Malformed.into()),
        case("NS cut short", cut, Drop::Malformed.into()),
        case("NS with another option", odd, Drop::Malformed.into()),
        Case::new("NS from another MAC", FromPod, FIXED_MAC, fixed, Drop::SpoofedMac),
        from_pod("to the gateway itself", &A.sends(v6, gateway), Drop::LinkLocal),
        from_pod(
            "a mapped source",
            &A.sends(v6, other).from(v6.pick("", "::ffff:10.1.0.1")),
            Drop::Malformed,
        ),
        from_pod("a mapped destination", &A.sends(v6, v6.pick("", "::ffff:10.1.0.2")), Drop::Malformed),
        from_pod("an echo request", &A.sends(v6, other).carrying(58, vec![128; 16]), Verdict::Peer)
            .forwarded(B.mac(), B.host_mac()),
    ]
}

fn malformed(family: Family) -> Vec<Case> {
    let whole = A.sends(family, B.address(family)).frame();
    // A test run takes no frame without a whole IP header; those are for the tests of the packet crate.
    let mut cases = Vec::new();
    for length in [14 + family.header(), whole.len() - 1] {
        cases.push(Case::new("cut short", FromPod, A, whole[..length].to_vec(), Drop::Malformed));
    }
    let mut version = whole.clone();
    version[14] = 0x75;
    cases.push(Case::new("another version", FromPod, A, version, Drop::Malformed));
    let mut padded = whole;
    padded.resize(90, 0);
    cases.push(
        Case::new("padded to a minimum", FromPod, A, padded, Verdict::Peer).forwarded(B.mac(), B.host_mac()),
    );
    cases
}

fn other_hooks(family: Family) -> Vec<Case> {
    let to_b = A.sends(family, B.address(family));
    let stale = A.sends(family, B.address(family)).from(family.local_node()).frame();
    let mut current = stale.clone();
    current[0..6].copy_from_slice(&B.mac());
    let mut readdressed = current.clone();
    readdressed[6..12].copy_from_slice(&B.host_mac());
    let node = A.sends(family, family.remote_pod()).from(family.local_node()).frame();
    let lost = A.sends(family, family.outside()).from(family.local_node()).frame();
    let group = A.sends(family, family.pick("224.0.0.1", "ff02::1")).from(family.local_node()).frame();
    let lldp = ethernet::frame([1; 6], [2; 6], 0x88cc, &[0; 46]);
    let last_hop = to_b.from(family.local_node()).hops(1);
    let ask = arp(1, A.mac(), Family::V4.local_node(), [0; 6], Family::V4.remote_pod());
    vec![
        Case::new("by the stack, current MAC", ToPod, B, current, Verdict::Deliver),
        Case::new("by the stack, stale MAC", ToPod, B, stale.clone(), Verdict::Deliver)
            .leaves_as(readdressed),
        Case::new("by the stack, last hop", ToPod, A, last_hop.frame(), Verdict::Deliver),
        Case::new("by the stack, cut short", ToPod, B, stale[..stale.len() - 1].to_vec(), Drop::Malformed),
        Case::new("ARP by the stack", ToPod, A, ask.clone(), Verdict::Deliver),
        Case::new("the node to a remote pod", ToOverlay, A, node.clone(), Verdict::Tunnel),
        Case::new("no route to a node", ToOverlay, A, lost, Drop::NoTunnelRoute),
        Case::new("a group on the overlay", ToOverlay, A, group, Drop::LinkLocal),
        Case::new("LLDP on the overlay", ToOverlay, A, lldp, Drop::UnknownEthertype),
        Case::new("ARP on the overlay", ToOverlay, A, ask, Drop::ForeignNeighbour),
        Case::new("cut short on the overlay", ToOverlay, A, node[..node.len() - 1].to_vec(), Drop::Malformed),
        Case::new("without a tunnel key", FromOverlay, A, stale.clone(), Drop::HelperFailed),
        Case::new("not ready, from a pod", FromPod, A, stale.clone(), Drop::NotReady).unready(),
        Case::new("not ready, from the overlay", FromOverlay, A, stale, Drop::NotReady).unready(),
        Case::new("not ready, to the overlay", ToOverlay, A, node, Drop::NotReady).unready(),
    ]
}
