use std::net::{IpAddr, Ipv4Addr};

use naru_core::desired::IPV6_MIN_MTU;

use crate::{
    datapath::{AttachMode, Pins, Side, attach, detach_others},
    host::sysctl::{Families, prepare_device},
    links::{GATEWAY_V4, GATEWAY_V6, LinkError, Links, Mac, Neighbour, Overlay},
};

use super::{InitError, Memory, Survey, config};

/// Name of the tunnel device.
pub const DEVICE: &str = "naru-vx";

/// The tunnel device's IPv4 address. The kernel's loose reverse path filter is a strict one on a device without any, and
/// would drop what a node sends through the tunnel that is answered directly.
const ANCHOR: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 1, 2));

/// Makes the tunnel device, what leads through it and the programs on it be as they should; a single machine has none.
/// Returns the mode of attachment.
pub(super) fn ensure(
    links: &Links,
    pins: &Pins,
    memory: &Memory,
    survey: &Survey,
) -> Result<Option<AttachMode>, InitError> {
    if !memory.is_clustered() {
        config::ensure(links, pins, memory, survey, 0)?;
        return Ok(None);
    }
    let index = device(links, memory, device_mtu(memory, survey))?;
    prepare_device(DEVICE, families(memory))?;
    for ip in [GATEWAY_V4, GATEWAY_V6] {
        links.ensure_neighbour(&Neighbour { index, ip, mac: peer_mac() })?;
    }
    links.ensure_link_address(index, DEVICE, ANCHOR)?;
    config::ensure(links, pins, memory, survey, index)?;
    detach_others(pins, Side::Overlay, &[index])?;
    Ok(Some(attach(pins, Side::Overlay, DEVICE, memory.attach_mode())?))
}

/// The device, on the tunnel's port or, where that is taken, on the first of the others that is free. One that it has
/// already it keeps, though the tunnel's become free: changing it costs the device, and all that leads through it.
fn device(links: &Links, memory: &Memory, mtu: u32) -> Result<u32, InitError> {
    let tunnel = &memory.cluster.tunnel;
    let mut ports: Vec<u16> = [&[tunnel.port], tunnel.fallback_ports.as_slice()].concat();
    let current = links.overlay_port(DEVICE)?.and_then(|port| ports.iter().position(|one| *one == port));
    ports.rotate_left(current.unwrap_or(0));
    let on = |port| Overlay { name: DEVICE.to_owned(), port, mac: overlay_mac(&memory.node), mtu };
    let mut refused = None;
    for port in ports {
        match links.ensure_overlay(&on(port)) {
            Err(error @ LinkError::PortTaken { .. }) => refused = refused.or(Some(error)),
            other => return Ok(other?.index),
        }
    }
    // The list is never empty; the first refusal is of the port that was wanted.
    Err(refused.unwrap_or_else(|| LinkError::kernel(DEVICE, libc::EADDRINUSE)).into())
}

/// MAC address of the tunnel device of the node of that name: the same each time, another one on each node, since
/// vxlan drops frames whose source is its own address.
#[must_use]
pub fn overlay_mac(node: &str) -> Mac {
    // FNV-1a, 64 bits: http://www.isthe.com/chongo/tech/comp/fnv/
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in node.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let [a, b, c, d, e, f, ..] = hash.to_be_bytes();
    Mac([a, b, c, d, e, f]).local()
}

/// Destination MAC of what the stack sends into the tunnel: any unicast address does, receivers do not look at it.
fn peer_mac() -> Mac {
    overlay_mac("any node")
}

/// Which families pods of this node have, its remote nodes' included.
pub(super) fn families(memory: &Memory) -> Families {
    let ranges = [memory.ranges(), memory.delegated_subnets(|_| true)].concat();
    let has = |v4: bool| ranges.iter().any(|range| range.addr().is_ipv4() == v4);
    Families { v4: has(true), v6: has(false) }
}

/// What fits the widest path: narrower ones are kept to by their routes. With IPv6 pods never less than every link has to
/// carry, or the kernel takes IPv6 off the device; the underlay then carries such packets in fragments.
pub(super) fn device_mtu(memory: &Memory, survey: &Survey) -> u32 {
    let tunnels = survey.ways(memory).remotes().map(|remote| remote.tunnel_mtu());
    let widest = tunnels.max().unwrap_or_else(|| survey.pod_mtu(memory));
    if families(memory).v6 { widest.max(IPV6_MIN_MTU) } else { widest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_its_own_unicast_address_and_keeps_it() {
        assert_eq!(overlay_mac("node1"), overlay_mac("node1"));
        assert_ne!(overlay_mac("node1"), overlay_mac("node2"));
        assert_ne!(overlay_mac("node1"), peer_mac());
        assert_eq!(overlay_mac("node1").0[0] & 3, 2, "locally administered, not multicast");
    }
}
