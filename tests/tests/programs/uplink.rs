//! The table's part with an uplink: packets that the programs put into the tunnel, take out of it, and route.

use naru_abi::{
    DropReason as Drop,
    Hook::{FromUnderlay, ToUnderlay},
    Outcome, StackReason as Stack, Verdict,
    features::{DIRECT, OWN_ENCAPSULATION},
};
use naru_e2e::wire::{ethernet, ip};

use crate::{
    cases::{Case, from_pod, to_tunnel},
    frames::{Packet, fix_checksum, forwarded},
    node::{PORT, VNI},
    world::{A, BY_STACK, Family, PATH_MTU, Pod},
};

pub fn cases(family: Family) -> Vec<Case> {
    let mut all = encapsulated(family);
    all.extend(direct(family));
    all.extend(decapsulated(family));
    all.extend(not_ours(family));
    all
}

/// `frame` around which a node puts the tunnel's headers; source port 0, no checksum of an IPv4 header.
pub fn around(frame: &[u8], source: Pod, family: Family, nodes: [std::net::IpAddr; 2]) -> Vec<u8> {
    let vxlan = ethernet::vxlan(VNI, frame);
    let length = u16::try_from(8 + vxlan.len()).unwrap().to_be_bytes();
    let [high, low] = PORT.to_be_bytes();
    let datagram = [&[0, 0, high, low, length[0], length[1], 0, 0][..], &vxlan].concat();
    let mut packet = ip::packet(nodes[0], nodes[1], ip::UDP, &datagram);
    if family == Family::V4 {
        packet[6..8].fill(0);
        fix_checksum(&mut packet);
    }
    ethernet::frame(source.host_mac(), source.host_mac(), ethernet::ethertype(&packet), &packet)
}

fn by_us(name: &str, packet: &Packet, family: Family) -> Case {
    let inner = forwarded(&packet.frame(), A.host_mac(), A.host_mac());
    let nodes = [family.local_node(), family.remote_node()];
    from_pod(name, packet, Verdict::Encapsulated)
        .leaves_as(around(&inner, A, family, nodes))
        .with(OWN_ENCAPSULATION)
}

fn encapsulated(family: Family) -> Vec<Case> {
    let far = A.sends(family, family.remote_pod());
    let path_mtu = PATH_MTU as usize;
    let by_device = A.sends(family, family.pick("10.3.0.9", "fd00:3::9"));
    let nowhere = A.sends(family, family.pick("10.5.0.9", "fd00:5::9"));
    vec![
        by_us("UDP, by us", &far, family),
        by_us("TCP, by us", &far.clone().tcp(100), family),
        by_us("a later fragment, by us", &far.clone().fragment(1400), family),
        by_us("as large as the path, by us", &far.clone().sized(path_mtu), family),
        by_us("to the remote node, by us", &far.clone().to(family.remote_node()), family),
        from_pod("larger than the path, not by us", &far.sized(path_mtu + 1), Stack::TooBig)
            .with(OWN_ENCAPSULATION),
        to_tunnel("to a node that takes the device's only", &by_device).with(OWN_ENCAPSULATION),
        to_tunnel("to a node that no route leads to", &nowhere).with(OWN_ENCAPSULATION),
    ]
}

fn direct(family: Family) -> Vec<Case> {
    let near = A.sends(family, family.pick("10.4.0.9", "fd00:4::9"));
    let node = A.sends(family, family.pick("192.0.2.4", "2001:db8::4"));
    let nowhere = A.sends(family, family.pick("10.6.0.9", "fd00:6::9"));
    let routed = |name, packet: &Packet| {
        let output = forwarded(&packet.frame(), A.host_mac(), A.mac());
        from_pod(name, packet, Verdict::Direct).leaves_as(output).with(DIRECT)
    };
    vec![
        routed("to a pod without the tunnel", &near),
        routed("a fragment without the tunnel", &near.clone().fragment(1400)),
        routed("to a node without the tunnel", &node),
        from_pod("without the tunnel, the last hop", &near.clone().hops(1), Stack::TtlExpired).with(DIRECT),
        from_pod("to the tunnel port of a node without it", &node.udp(PORT), Drop::TunnelPort).with(DIRECT),
        from_pod("where no route leads", &nowhere, Stack::DirectByStack).with(DIRECT),
        from_pod("without the tunnel, switched off", &near, Stack::DirectByStack),
    ]
}

/// A packet of the remote pod to pod A, and how it comes.
fn decapsulated(family: Family) -> Vec<Case> {
    let nodes = [family.remote_node(), family.local_node()];
    let whole = A.sends(family, A.address(family)).from(family.remote_pod());
    let enclosed = |packet: &Packet| around(&packet.frame(), A, family, nodes);
    let case = |name, frame: Vec<u8>, outcome: Outcome| {
        Case::new(name, FromUnderlay, A, frame, outcome).with(OWN_ENCAPSULATION)
    };
    let arrived = |name, packet: &Packet| {
        let output = forwarded(&packet.frame(), A.mac(), A.host_mac());
        case(name, enclosed(packet), Verdict::Peer.into()).leaves_as(output)
    };
    let changed = |offset: usize, value: u8| {
        let mut frame = enclosed(&whole);
        frame[14 + family.header() + offset] = value;
        frame
    };
    let stranger = [family.outside(), family.local_node()];
    let elsewhere = [family.remote_node(), family.outside()];
    let switched_off =
        Case::new("for the device, switched off", FromUnderlay, A, enclosed(&whole), Stack::NotOurs);
    vec![
        arrived("UDP, taken out", &whole),
        arrived("a fragment, taken out", &whole.clone().fragment(1400)),
        arrived("from the remote node, taken out", &whole.clone().from(family.remote_node())),
        case("a checksum outside", changed(6, 1), Stack::TunnelDevice.into()),
        case("another flag of VXLAN", changed(8, 9), Stack::TunnelDevice.into()),
        case("a length that is not the packet's", changed(5, 1), Stack::TunnelDevice.into()),
        case("another cluster's", changed(14, 1), Drop::ForeignKey.into()),
        case("to another port", changed(3, 1), Stack::NotOurs.into()),
        case("from a stranger", around(&whole.frame(), A, family, stranger), Drop::ForeignOuterSource.into()),
        case("to another address", around(&whole.frame(), A, family, elsewhere), Stack::NotOurs.into()),
        case(
            "our own pod's source",
            enclosed(&whole.clone().from(A.address(family))),
            Drop::ForeignInnerSource.into(),
        ),
        case("to the outside", enclosed(&whole.clone().to(family.outside())), Drop::NotForThisNode.into()),
        case("inside, the last hop", enclosed(&whole.clone().hops(1)), Stack::TtlExpired.into()),
        case("inside, options", enclosed(&whole.clone().extended()), Stack::Options.into()),
        case(
            "inside, to the node",
            enclosed(&whole.clone().to(family.local_node())),
            Stack::LocalNode.into(),
        ),
        case(
            "inside, no pod's address",
            enclosed(&whole.clone().to(family.unassigned())),
            Stack::Unassigned.into(),
        ),
        case("inside, no shortcut", enclosed(&whole.to(BY_STACK.address(family))), Stack::NoShortcut.into()),
        switched_off,
    ]
}

fn not_ours(family: Family) -> Vec<Case> {
    let from_node = A.sends(family, family.local_node()).from(family.remote_node());
    let to_pod = from_node.clone().to(A.address(family));
    let frame = to_pod.frame();
    let lldp = ethernet::frame([1; 6], [2; 6], 0x88cc, &[0; 46]);
    let case = |name, frame: Vec<u8>| Case::new(name, FromUnderlay, A, frame, Stack::NotOurs).with(DIRECT);
    let to_node = A.sends(family, family.remote_node()).from(family.local_node()).frame();
    let taken = Case::new("to a pod without the tunnel", FromUnderlay, A, frame.clone(), Verdict::Peer);
    let last = to_pod.clone().hops(1).frame();
    vec![
        taken.forwarded(A.mac(), A.host_mac()).with(DIRECT),
        Case::new("to a pod, the last hop", FromUnderlay, A, last, Stack::TtlExpired).with(DIRECT),
        case("the remote node to the node", from_node.frame()),
        case("from outside to a pod", to_pod.from(family.outside()).frame()),
        case("cut short", frame[..frame.len() - 1].to_vec()),
        case("LLDP", lldp),
        Case::new("to a pod, switched off", FromUnderlay, A, frame.clone(), Stack::NotOurs),
        Case { is_ready: false, ..Case::new("not ready", FromUnderlay, A, frame, Stack::NotOurs) },
        Case::new("the node to the remote node", ToUnderlay, A, to_node, Verdict::Deliver),
    ]
}
