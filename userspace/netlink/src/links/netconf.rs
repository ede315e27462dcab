//! The kernel's settings for the packets of each device (`RTM_GETNETCONF`): one answer for all devices, where files
//! below `/proc/sys/net` would be two for each device. Layout from `linux/netconf.h`.

use super::{LinkError, Links, reply::Reply};
use crate::message::{find, u32_at};

/// `RTM_NEWNETCONF` and `RTM_GETNETCONF`.
pub(super) const RTM_NEWNETCONF: u16 = 80;
const RTM_GETNETCONF: u16 = 82;
/// `struct netconfmsg` (one byte, the family), padded.
const HEADER: usize = 4;
const NETCONFA_IFINDEX: u16 = 1;
const NETCONFA_FORWARDING: u16 = 2;
const NETCONFA_RP_FILTER: u16 = 3;
/// `NETCONFA_IFINDEX_ALL` and `NETCONFA_IFINDEX_DEFAULT`.
const ALL: u32 = u32::MAX;
const DEFAULT: u32 = u32::MAX - 1;

/// The devices that an answer concerns, in the order in which the kernel passes changes on from one to the next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ConfOf {
    /// `all`: for IPv6 forwarding the switch of the whole machine, for `rp_filter` a minimum for every device.
    All,
    /// `default`: what devices begin with.
    Default,
    /// The device of that index.
    Device(u32),
}

/// The kernel's settings for packets of one family that come in by a device.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DeviceConf {
    /// True if it is about IPv4; else about IPv6.
    pub v4: bool,
    /// The device.
    pub of: ConfOf,
    /// True if they are forwarded; `None` in a notification about something else.
    pub forwarding: Option<bool>,
    /// The reverse path filter: 0 off, 1 strict, 2 loose; IPv4 only, and `None` in a notification about something else.
    pub rp_filter: Option<u32>,
}

impl Links {
    /// The kernel's settings for the packets of every device, of both families.
    ///
    /// # Errors
    /// The kernel refuses the dump.
    pub fn device_confs(&self) -> Result<Vec<DeviceConf>, LinkError> {
        let mut list = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            // The header is one byte; the rest is padding.
            let body = family.to_le_bytes();
            let answers = self.socket().dump_bytes(RTM_GETNETCONF, &body, "device settings: list");
            match answers {
                Err(error) if matches!(error.errno(), Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP)) => {}
                answers => list.extend(answers?.iter().filter_map(parsed)),
            }
        }
        Ok(list)
    }
}

/// Reads a message about one device.
pub(super) fn parsed(reply: &Reply) -> Option<DeviceConf> {
    let family = i32::from(*reply.body().first()?);
    let attributes = reply.body().get(HEADER..)?;
    let value = |kind| u32_at(find(attributes, kind)?, 0);
    let of = match value(NETCONFA_IFINDEX)? {
        ALL => ConfOf::All,
        DEFAULT => ConfOf::Default,
        index => ConfOf::Device(index),
    };
    let v4 = family == libc::AF_INET;
    (v4 || family == libc::AF_INET6).then(|| DeviceConf {
        v4,
        of,
        forwarding: value(NETCONFA_FORWARDING).map(|value| value != 0),
        rp_filter: value(NETCONFA_RP_FILTER),
    })
}
