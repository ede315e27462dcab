use std::net::{IpAddr, Ipv4Addr};

use naru_core::{desired::carried, ids::fnv1a};
use naru_netlink::links::{LinkError, Links, Mac, Neighbour, Overlay};

use crate::{host::sysctl::prepare_device, machine::GATEWAYS};
use naru_bpf::{AttachMode, Pins, Side, attach, detach_others};

use super::config;
use crate::machine::{DEVICE, MachineError, Settings, Survey};

/// The tunnel device's IPv4 address. On a device without any, the kernel's loose reverse path filter acts as a strict
/// one, and would drop packets through the tunnel whose answers go directly.
pub(super) const ANCHOR: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 1, 2));

/// Makes or repairs the tunnel device, the routes through it and the programs on it; a single machine has none. Returns
/// the mode of attachment.
pub(crate) fn ensure(
    links: &Links,
    pins: &Pins,
    settings: &Settings,
    survey: &Survey,
) -> Result<Option<AttachMode>, MachineError> {
    if !settings.is_clustered() {
        config::ensure(links, pins, settings, survey, 0)?;
        return Ok(None);
    }
    let index = device(links, settings, device_mtu(settings, survey))?;
    prepare_device(DEVICE, settings.families())?;
    for ip in served_gateways(settings) {
        links.ensure_neighbour(&Neighbour { index, ip, mac: peer_mac() })?;
    }
    links.ensure_link_address(index, DEVICE, ANCHOR)?;
    config::ensure(links, pins, settings, survey, index)?;
    detach_others(pins, Side::Overlay, &[index])?;
    Ok(Some(attach(pins, Side::Overlay, DEVICE, settings.attach_mode())?))
}

/// Returns the gateways to other nodes' pods, of the families that pods have: below IPv6's least MTU the kernel accepts
/// no IPv6 neighbour on the device.
pub(super) fn served_gateways(settings: &Settings) -> Vec<IpAddr> {
    let families = settings.families();
    let is_served = |ip: &IpAddr| if ip.is_ipv4() { families.v4 } else { families.v6 };
    GATEWAYS.both().into_iter().filter(is_served).collect()
}

/// Returns the device, on the tunnel's port or, if that is taken, on the first of the others that is free. An existing
/// device keeps its port even if the tunnel's becomes free: a change would cost the device and all routes through it.
fn device(links: &Links, settings: &Settings, mtu: u32) -> Result<u32, MachineError> {
    let tunnel = &settings.cluster.tunnel;
    let mut ports: Vec<u16> = [&[tunnel.port], tunnel.fallback_ports.as_slice()].concat();
    let current = links.overlay_port(DEVICE)?.and_then(|port| ports.iter().position(|one| *one == port));
    ports.rotate_left(current.unwrap_or(0));
    let on = |port| Overlay { name: DEVICE.to_owned(), port, mac: overlay_mac(&settings.node), mtu };
    let mut refused = None;
    for port in ports {
        match links.ensure_overlay(&on(port)) {
            Err(error @ LinkError::PortTaken { .. }) => refused = refused.or(Some(error)),
            other => return Ok(other?.index),
        }
    }
    // The list is never empty; the first refusal is that of the configured port.
    Err(refused.unwrap_or_else(|| LinkError::kernel(DEVICE, libc::EADDRINUSE)).into())
}

/// MAC address of the tunnel device of the node of that name: the same each time, another one on each node, since
/// vxlan drops frames whose source is its own address.
#[must_use]
pub fn overlay_mac(node: &str) -> Mac {
    let hash = fnv1a(node);
    let [a, b, c, d, e, f, ..] = hash.to_be_bytes();
    Mac([a, b, c, d, e, f]).local()
}

/// Destination MAC of packets that the stack sends into the tunnel: any unicast address will do, as receivers ignore
/// it.
pub(super) fn peer_mac() -> Mac {
    overlay_mac("any node")
}

/// Returns the MTU of the widest path, as routes hold the MTUs of narrower ones. With IPv6 pods it is never below the
/// IPv6 minimum, or the kernel would disable IPv6 on the device; the underlay then carries such packets in fragments.
pub(crate) fn device_mtu(settings: &Settings, survey: &Survey) -> u32 {
    let tunnels = survey.ways(settings).remotes().map(|remote| remote.whole_mtu());
    carried(tunnels.max().unwrap_or_else(|| survey.pod_mtu(settings)), settings.families().v6)
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
