//! The node's long-lived devices: the tunnel device and the uplinks, the programs on them, and those programs'
//! configuration.

mod adjust;
mod config;
mod forwarding;
mod overlay;
mod tunnel;
mod uplinks;

pub use overlay::overlay_mac;

pub(crate) use adjust::{adapt, publish, readjust};
pub(crate) use forwarding::ensure as ensure_forwarding;
pub(crate) use overlay::ensure as ensure_overlay;
pub(crate) use tunnel::Tunnel;
pub(crate) use uplinks::{ensure as ensure_uplinks, loose, loosen as loosen_uplinks};

use std::net::IpAddr;

use naru_bpf::Pins;
use naru_netlink::links::Links;

use crate::{
    host,
    machine::{self, DEVICE, MachineError, NodeFacts, Settings, Survey},
};

/// Writes the programs' configuration, before others attach programs that need it.
pub(crate) fn configure(
    links: &Links,
    pins: &Pins,
    settings: &Settings,
    survey: &Survey,
) -> Result<(), MachineError> {
    let overlay = if settings.is_clustered() { links.link(DEVICE)? } else { None };
    config::ensure(links, pins, settings, survey, overlay.map_or(0, |link| link.index))
}

/// The facts of the node that attachments of pods need.
pub(crate) fn facts(
    links: &Links,
    pins: &Pins,
    settings: &Settings,
    survey: &Survey,
) -> Result<NodeFacts, MachineError> {
    let own = settings.cluster.node(&settings.node);
    let is_here = |address: &IpAddr| survey.addresses.contains(address);
    let addresses = match own {
        Some(own) => own.addresses.iter().copied().filter(is_here).collect(),
        None => survey.addresses.clone(),
    };
    Ok(NodeFacts {
        boot_id: host::boot_id()?,
        netns: machine::netns()?,
        abi: naru_abi::ABI_VERSION,
        node: settings.node.clone(),
        addresses,
        blocks: settings.blocks().to_vec(),
        delegated: settings.delegated.clone(),
        pools: settings.pool_facts(),
        own: settings.pools.clone(),
        // For init to find.
        limited: Vec::new(),
        pod_mtu: survey.pod_mtu(settings),
        device_port: links.overlay_port(DEVICE)?,
        tunnel_port: settings.is_clustered().then_some(settings.cluster.tunnel.port),
        uplinks: uplinks::wanted(pins, settings, survey).into_iter().collect(),
        sends_around: uplinks::sends_around(pins, settings),
    })
}
