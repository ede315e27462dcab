//! Sysctls of the calling thread's network namespace. Names are paths below `/proc/sys`, as `net/ipv4/ip_forward`.

use super::{HostError, Journal};

/// First word of a sysctl's key in the journal.
pub(super) const KEY: &str = "sysctl";

/// The value, without its line end; `None` when there is no such sysctl (a device that is gone, a family that is off).
///
/// # Errors
/// It cannot be read for another reason.
pub fn read(name: &str) -> Result<Option<String>, HostError> {
    let _ = name;
    todo!()
}

/// Sets the value unless it is set already, its former value remembered first; `true` when it was changed.
///
/// # Errors
/// There is no such sysctl, it cannot be remembered, or the kernel refuses.
pub fn set(name: &str, value: &str, journal: &mut dyn Journal) -> Result<bool, HostError> {
    let _ = (name, value, journal);
    todo!()
}

/// Sets a sysctl of a device of ours, which nobody needs to restore.
///
/// # Errors
/// There is no such sysctl, or the kernel refuses.
pub fn set_own(name: &str, value: &str) -> Result<(), HostError> {
    let _ = (name, value);
    todo!()
}

/// Gives a sysctl its former value; one that is gone is passed over.
///
/// # Errors
/// The kernel refuses.
pub fn restore(name: &str, former: &str) -> Result<(), HostError> {
    let _ = (name, former);
    todo!()
}

/// Which families a node or device serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Families {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

/// Makes this machine forward the families. Devices in `advertised` have an IPv6 default route from a router
/// advertisement, which forwarding would end: they get `accept_ra=2` first.
///
/// # Errors
/// As [`set`].
pub fn forward_packets(
    families: Families,
    advertised: &[String],
    journal: &mut dyn Journal,
) -> Result<(), HostError> {
    let _ = (families, advertised, journal);
    todo!()
}

/// Prepares a device of ours (host veth, overlay): loose reverse path filter, forwarding, and IPv6 switched on where served.
/// `rp_filter`'s effective value is the larger of `all` and the device's, so 2 here is 2 whatever `all` says.
///
/// # Errors
/// As [`set_own`].
pub fn prepare_device(device: &str, families: Families) -> Result<(), HostError> {
    let _ = (device, families);
    todo!()
}
