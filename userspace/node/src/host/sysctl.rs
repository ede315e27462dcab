//! Sysctls of the calling thread's network namespace. Names are paths below `/proc/sys`, as `net/ipv4/ip_forward`.

use std::{fs, io, path::PathBuf};

use super::{HostError, Journal, journal};

/// First word of a sysctl's key in the journal.
pub(super) const KEY: &str = "sysctl";

/// The value, without its line end; `None` when there is no such sysctl (a device that is gone, a family that is off).
///
/// # Errors
/// It cannot be read for another reason.
pub fn read(name: &str) -> Result<Option<String>, HostError> {
    match fs::read_to_string(path(name)) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(HostError::file(path(name), "read", error)),
    }
}

/// Sets the value unless it is set already, its former value remembered first; `true` when it was changed.
///
/// # Errors
/// There is no such sysctl, it cannot be remembered, or the kernel refuses.
pub fn set(name: &str, value: &str, journal: &mut dyn Journal) -> Result<bool, HostError> {
    let absent = || HostError::file(path(name), "read", io::Error::from_raw_os_error(libc::ENOENT));
    let former = read(name)?.ok_or_else(absent)?;
    if former == value {
        return Ok(false);
    }
    journal::remember(journal, &format!("{KEY} {name}"), &former)?;
    set_own(name, value)?;
    Ok(true)
}

/// Sets a sysctl of a device of ours, which nobody needs to restore.
///
/// # Errors
/// There is no such sysctl, or the kernel refuses.
pub fn set_own(name: &str, value: &str) -> Result<(), HostError> {
    fs::write(path(name), value).map_err(|error| HostError::file(path(name), format!("write {value}"), error))
}

/// Gives a sysctl its former value; one that is gone is passed over.
///
/// # Errors
/// The kernel refuses.
pub fn restore(name: &str, former: &str) -> Result<(), HostError> {
    match read(name)? {
        Some(value) if value != former => set_own(name, former),
        _ => Ok(()),
    }
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
    if families.v4 {
        set("net/ipv4/ip_forward", "1", journal)?;
    }
    if families.v6 {
        for device in advertised {
            set(&format!("net/ipv6/conf/{device}/accept_ra"), "2", journal)?;
        }
        forward_v6(journal)?;
    }
    Ok(())
}

/// Writing `all` sets every device and `default` too, so each value of before is remembered for itself.
fn forward_v6(journal: &mut dyn Journal) -> Result<(), HostError> {
    let root = path("net/ipv6/conf");
    if read("net/ipv6/conf/all/forwarding")?.as_deref() == Some("1") {
        return Ok(());
    }
    let list = fs::read_dir(&root).map_err(|error| HostError::file(&root, "list", error))?;
    for entry in list {
        let device = entry.map_err(|error| HostError::file(&root, "list", error))?.file_name();
        let name = format!("net/ipv6/conf/{}/forwarding", device.to_string_lossy());
        if let Some(former) = read(&name)?.filter(|former| former != "1") {
            journal::remember(journal, &format!("{KEY} {name}"), &former)?;
        }
    }
    set("net/ipv6/conf/all/forwarding", "1", journal).map(drop)
}

/// Prepares a device of ours (host veth, overlay): loose reverse path filter, forwarding, and IPv6 switched on where served.
/// `rp_filter`'s effective value is the larger of `all` and the device's, so 2 here is 2 whatever `all` says.
///
/// # Errors
/// As [`set_own`].
pub fn prepare_device(device: &str, families: Families) -> Result<(), HostError> {
    if families.v4 {
        set_own(&format!("net/ipv4/conf/{device}/rp_filter"), "2")?;
        set_own(&format!("net/ipv4/conf/{device}/forwarding"), "1")?;
    }
    if families.v6 {
        set_own(&format!("net/ipv6/conf/{device}/disable_ipv6"), "0")?;
        set_own(&format!("net/ipv6/conf/{device}/forwarding"), "1")?;
    }
    Ok(())
}

/// The file of a sysctl.
fn path(name: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(name)
}
