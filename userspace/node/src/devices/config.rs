use std::net::IpAddr;

use naru_abi::{ABI_VERSION, Addr, Config, features};
use naru_core::cluster::Encapsulation;
use naru_netlink::links::Links;

use super::uplinks;
use crate::machine::{DEVICE, MachineError, Settings, Survey};
use naru_bpf::{ConfigMap, Pins};

/// Makes the programs' configuration be what the cluster and the machine's addresses ask for.
pub(super) fn ensure(
    links: &Links,
    pins: &Pins,
    settings: &Settings,
    survey: &Survey,
    overlay_ifindex: u32,
) -> Result<(), MachineError> {
    let mut map = ConfigMap::open(pins)?;
    let config = Config {
        abi: ABI_VERSION,
        features: features(settings) | substitute(links, settings)?,
        overlay_ifindex,
        tunnel_port: settings.cluster.tunnel.port.into(),
        vni: settings.cluster.tunnel.vni,
        reserved: 0,
        node_v4: source(settings, survey, IpAddr::is_ipv4),
        node_v6: source(settings, survey, IpAddr::is_ipv6),
    };
    if map.get()? != config {
        map.set(config)?;
    }
    Ok(())
}

fn features(settings: &Settings) -> u32 {
    let mut features = features::REDIRECT_PEER;
    if !uplinks::is_needed(settings) {
        return features;
    }
    features |= features::DIRECT;
    let wants_own = settings.cluster.encapsulation_of(&settings.node) == Encapsulation::Auto;
    if wants_own && naru_bpf::can_encapsulate() {
        features |= features::OWN_ENCAPSULATION;
    }
    features
}

/// The feature for a device that has another port than the tunnel, else 0. A rule then writes the tunnel's port into
/// sent packets; at that point nobody can tell how far a checksum has been computed.
fn substitute(links: &Links, settings: &Settings) -> Result<u32, MachineError> {
    let own = links.overlay_port(DEVICE)?;
    Ok(if own.is_some_and(|port| port != settings.cluster.tunnel.port) { features::SHARED_PORT } else { 0 })
}

/// The first of the node's addresses of a family that the machine has: the source of what its programs encapsulate.
fn source(settings: &Settings, survey: &Survey, is_of_family: fn(&IpAddr) -> bool) -> Addr {
    let own = settings.cluster.node(&settings.node).map_or(&[][..], |own| &own.addresses);
    let found = own.iter().find(|address| is_of_family(address) && survey.addresses.contains(address));
    found.map_or(Addr::UNSPECIFIED, |address| Addr::from(*address))
}
