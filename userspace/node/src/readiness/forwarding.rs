use naru_netlink::links::{ConfOf, DeviceConf, Links};

use super::{Found, Scene};
use crate::{host::sysctl::Families, machine::MachineError};

/// The loopback device of every network namespace: nothing that is forwarded comes in by it.
const LOOPBACK: u32 = 1;
/// `rp_filter`: packets must come in by the interface that leads back to their source.
const STRICT: u32 = 1;

/// Checks forwarding: a packet is forwarded if the device by which it came forwards, so every device must, also those
/// to come.
pub(super) fn look(scene: &Scene<'_>) -> Found {
    let confs = scene.links.device_confs()?;
    for conf in off(&confs, scene.record.families()) {
        if let Some(device) = name(&scene.links, conf.of)? {
            let family = if conf.v4 { "ipv4" } else { "ipv6" };
            return Ok(Some(format!("net.{family}.conf.{device}.forwarding is 0")));
        }
    }
    let tunnel = scene.record.tunnel.iter().map(|tunnel| tunnel.index);
    let loose: Vec<u32> = tunnel.chain(scene.record.loose.iter().copied()).collect();
    match strict(&confs, scene.record.families()).find(|index| loose.contains(index)) {
        Some(index) => {
            let device = name(&scene.links, ConfOf::Device(index))?;
            Ok(device.map(|device| format!("net.ipv4.conf.{device}.rp_filter is strict")))
        }
        None => Ok(None),
    }
}

/// Returns the devices that should forward and do not: `all` first, then `default`, then devices.
pub(crate) fn off(confs: &[DeviceConf], families: Families) -> Vec<DeviceConf> {
    let is_wanted = |conf: &&DeviceConf| if conf.v4 { families.v4 } else { families.v6 };
    let is_off = |conf: &&DeviceConf| conf.forwarding == Some(false) && conf.of != ConfOf::Device(LOOPBACK);
    let mut all: Vec<DeviceConf> = confs.iter().filter(is_wanted).filter(is_off).copied().collect();
    all.sort_unstable_by_key(|conf| (conf.of, conf.v4));
    all
}

/// Returns devices with a strict reverse path filter, if pods have IPv4, as only that has the filter: the larger value
/// of `all` and the device counts.
pub(crate) fn strict(confs: &[DeviceConf], families: Families) -> impl Iterator<Item = u32> {
    let of_all = confs.iter().find(|conf| conf.v4 && conf.of == ConfOf::All).and_then(|conf| conf.rp_filter);
    confs.iter().filter(move |_| families.v4).filter_map(move |conf| match conf.of {
        ConfOf::Device(index) => (conf.rp_filter?.max(of_all?) == STRICT).then_some(index),
        ConfOf::All | ConfOf::Default => None,
    })
}

/// Returns its name below `/proc/sys/net`; `None` for a device that is gone by now.
pub(crate) fn name(links: &Links, of: ConfOf) -> Result<Option<String>, MachineError> {
    Ok(match of {
        ConfOf::All => Some("all".to_owned()),
        ConfOf::Default => Some("default".to_owned()),
        ConfOf::Device(index) => links.link_at(index)?.map(|link| link.name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(v4: bool, of: ConfOf, forwarding: bool, rp_filter: u32) -> DeviceConf {
        DeviceConf { v4, of, forwarding: Some(forwarding), rp_filter: v4.then_some(rp_filter) }
    }

    #[test]
    fn every_device_of_a_family_that_pods_have_forwards_but_the_loopback_device() {
        let confs = [
            conf(true, ConfOf::Device(1), false, 0),
            conf(true, ConfOf::Device(7), false, 0),
            conf(true, ConfOf::All, false, 0),
            conf(false, ConfOf::Default, false, 0),
            conf(true, ConfOf::Default, true, 0),
        ];
        let found = |v4, v6| off(&confs, Families { v4, v6 }).iter().map(|conf| conf.of).collect::<Vec<_>>();
        assert_eq!(found(true, false), [ConfOf::All, ConfOf::Device(7)]);
        assert_eq!(found(false, true), [ConfOf::Default]);
        assert_eq!(found(true, true), [ConfOf::All, ConfOf::Default, ConfOf::Device(7)]);
    }

    #[test]
    fn the_larger_value_of_all_and_the_device_is_its_filter() {
        for (all, device, is_strict) in [
            (0, 0, false),
            (0, 1, true),
            (1, 0, true),
            (1, 1, true),
            (1, 2, false),
            (2, 1, false),
            (2, 0, false),
        ] {
            let confs = [conf(true, ConfOf::All, true, all), conf(true, ConfOf::Device(7), true, device)];
            assert_eq!(
                strict(&confs, Families { v4: true, v6: false }).next().is_some(),
                is_strict,
                "all {all}, device {device}"
            );
        }
    }
}
