use std::net::IpAddr;

use naru_abi::{ABI_VERSION, Addr, Config, features};
use naru_core::cluster::Encapsulation;

use super::{DEVICE, InitError, Memory, Survey, uplinks};
use crate::{
    datapath::{self, ConfigMap, Pins},
    links::Links,
};

/// Makes the programs' configuration be what the cluster and the machine's addresses ask for.
pub(super) fn ensure(
    links: &Links,
    pins: &Pins,
    memory: &Memory,
    survey: &Survey,
    overlay_ifindex: u32,
) -> Result<(), InitError> {
    let mut map = ConfigMap::open(pins)?;
    let config = Config {
        abi: ABI_VERSION,
        features: features(memory) | substitute(links, memory)?,
        overlay_ifindex,
        tunnel_port: memory.cluster.tunnel.port.into(),
        vni: memory.cluster.tunnel.vni,
        reserved: 0,
        node_v4: source(memory, survey, IpAddr::is_ipv4),
        node_v6: source(memory, survey, IpAddr::is_ipv6),
    };
    if map.get()? != config {
        map.set(config)?;
    }
    Ok(())
}

fn features(memory: &Memory) -> u32 {
    let mut features = features::REDIRECT_PEER;
    if !uplinks::is_needed(memory) {
        return features;
    }
    features |= features::DIRECT;
    let wants_own = memory.cluster.encapsulation_of(&memory.node) == Encapsulation::Auto;
    if wants_own && datapath::can_encapsulate() {
        features |= features::OWN_ENCAPSULATION;
    }
    features
}

/// Where the device has another port than the tunnel, a rule writes the tunnel's into what it sends, and cannot tell how
/// far a checksum has come by then.
fn substitute(links: &Links, memory: &Memory) -> Result<u32, InitError> {
    let own = links.overlay_port(DEVICE)?;
    Ok(if own.is_some_and(|port| port != memory.cluster.tunnel.port) { features::SHARED_PORT } else { 0 })
}

/// The first of the node's addresses of a family that the machine has: the source of what its programs encapsulate.
fn source(memory: &Memory, survey: &Survey, is_of_family: fn(&IpAddr) -> bool) -> Addr {
    let own = memory.cluster.node(&memory.node).map_or(&[][..], |own| &own.addresses);
    let found = own.iter().find(|address| is_of_family(address) && survey.addresses.contains(address));
    found.map_or(Addr::UNSPECIFIED, |address| Addr::from(*address))
}
