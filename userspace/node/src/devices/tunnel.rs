use std::net::IpAddr;

use naru_netlink::links::{Links, Mac};
use serde::{Deserialize, Serialize};

use super::overlay::{ANCHOR, device_mtu, overlay_mac, peer_mac, served_gateways};
use crate::machine::{DEVICE, MachineError, Settings, Survey};

/// The desired tunnel device, apart from properties that are the same on every node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Tunnel {
    /// Its index: another device of that name lacks the routes through it.
    pub(crate) index: u32,
    port: u16,
    mac: [u8; 6],
    mtu: u32,
    gateways: Vec<IpAddr>,
}

impl Tunnel {
    /// Returns the existing device, with the desired MTU and MAC; `None` on a single machine, or if it is gone.
    pub(crate) fn of(
        links: &Links,
        settings: &Settings,
        survey: &Survey,
    ) -> Result<Option<Self>, MachineError> {
        if !settings.is_clustered() {
            return Ok(None);
        }
        let mtu = device_mtu(settings, survey);
        let found = links.overlay(DEVICE)?;
        Ok(found.map(|(link, port)| Self {
            index: link.index,
            port,
            mac: overlay_mac(&settings.node).0,
            mtu,
            gateways: served_gateways(settings),
        }))
    }

    /// Returns the first fault of the device, its address, its neighbours or its settings.
    pub(crate) fn fault(&self, links: &Links) -> Result<Option<String>, MachineError> {
        let fault = |what: &str| Ok(Some(format!("{DEVICE}: {what}")));
        let Some((link, port)) = links.overlay(DEVICE)? else { return fault("the tunnel device is gone") };
        if link.index != self.index || port != self.port {
            return fault("another device than init made");
        }
        if !link.up {
            return fault("down");
        }
        if link.mtu != self.mtu || link.mac != Some(Mac(self.mac)) {
            return fault("its MTU or MAC address was changed");
        }
        if !links.addresses_of(self.index)?.iter().any(|address| address.ip == ANCHOR) {
            return fault("its address is gone");
        }
        let known = links.neighbours(self.index)?;
        let is_known = |ip| known.iter().any(|one| one.ip == ip && one.mac == peer_mac());
        if !self.gateways.iter().copied().all(is_known) {
            return fault("the neighbours that other nodes' pods are behind are gone");
        }
        Ok(None)
    }
}
