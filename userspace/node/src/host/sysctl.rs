//! Sysctls of the calling thread's network namespace. Names are paths below `/proc/sys`, as `net/ipv4/ip_forward`.

use std::{fs, io};

use naru_netlink::sysctl::{self, path};

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

/// Sets a sysctl of a device of ours, which nobody needs to restore. One that is set already is not written: some
/// writes take the lock of the whole network configuration.
///
/// # Errors
/// There is no such sysctl, or the kernel refuses.
pub fn set_own(name: &str, value: &str) -> Result<(), HostError> {
    sysctl::set(name, value).map_err(|error| HostError::file(path(name), format!("write {value}"), error))
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

/// The families that a node or a device serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Families {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

/// Makes this machine forward the families. A host that accepts router advertisements goes on accepting them, also on
/// interfaces to come. `was_own`: we had switched IPv6 forwarding on before, which is why newer interfaces ignore
/// routers.
///
/// # Errors
/// As [`set`].
pub fn forward_packets(
    families: Families,
    was_own: bool,
    journal: &mut dyn Journal,
) -> Result<(), HostError> {
    if families.v4 {
        switch_forwarding_on(V4, journal)?;
    }
    if families.v6 {
        let deaf = if was_own { deaf()? } else { Vec::new() };
        for device in attentive()?.into_iter().chain(deaf) {
            let name = format!("{V6}/{device}/accept_ra");
            // One that went meanwhile needs nothing.
            if read(&name)?.is_some() {
                set(&name, "2", journal)?;
            }
        }
        switch_forwarding_on(V6, journal)?;
    }
    Ok(())
}

/// Returns true if an interface of others would take router advertisements if the machine did not forward.
///
/// # Errors
/// A sysctl cannot be read.
pub fn is_deaf_to_routers() -> Result<bool, HostError> {
    Ok(!deaf()?.is_empty())
}

/// Directories of the sysctls of a family's interfaces.
const V4: &str = "net/ipv4/conf";
const V6: &str = "net/ipv6/conf";

/// Interfaces of others that take router advertisements as long as the machine does not forward.
fn attentive() -> Result<Vec<String>, HostError> {
    by_advertisements("0")
}

/// Interfaces of others that would take router advertisements if the machine did not forward.
fn deaf() -> Result<Vec<String>, HostError> {
    by_advertisements("1")
}

fn by_advertisements(forwarding: &str) -> Result<Vec<String>, HostError> {
    let mut devices = devices_of(V6)?;
    // An interface that gets no advertisements loses nothing, and a pod's are never believed.
    devices.retain(|device| !matches!(device.as_str(), "all" | "default" | "lo") && !is_own(device));
    let mut found = Vec::new();
    for device in devices {
        let is = |key: &str, value: &str| -> Result<bool, HostError> {
            Ok(read(&format!("{V6}/{device}/{key}"))?.is_some_and(|found| found == value))
        };
        if is("accept_ra", "1")? && is("forwarding", forwarding)? && is("disable_ipv6", "0")? {
            found.push(device);
        }
    }
    Ok(found)
}

/// Returns true if the interface has a name of ours: the tunnel device, or the host end of a pod's pair.
fn is_own(device: &str) -> bool {
    device.starts_with("naru")
}

fn devices_of(root: &str) -> Result<Vec<String>, HostError> {
    let failed = |error: io::Error| HostError::file(path(root), "list", error);
    let mut names = Vec::new();
    for entry in fs::read_dir(path(root)).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// First word of a family's forwarding in the journal.
pub(super) const FORWARDING: &str = "forwarding";

/// Key in the journal of IPv6 forwarding that was switched on.
#[must_use]
pub fn forwarding_key() -> String {
    format!("{FORWARDING} {V6}")
}

/// Switches a family's forwarding on. Writing `all` writes `default` and every device as well, and for IPv4
/// `all/accept_redirects` too (`inet_forward_change`), so the values of before are remembered together.
fn switch_forwarding_on(root: &str, journal: &mut dyn Journal) -> Result<(), HostError> {
    let all = format!("{root}/all/forwarding");
    if read(&all)?.as_deref() == Some("1") {
        return Ok(());
    }
    journal::remember(journal, &format!("{FORWARDING} {root}"), &forwarding_values(root)?)?;
    set_own(&all, "1")
}

/// The values that [`switch_forwarding_on`] will change, as `name=value` with names below `root`, separated by
/// blanks.
fn forwarding_values(root: &str) -> Result<String, HostError> {
    let mut names = vec!["all/accept_redirects".to_owned()];
    names.extend(devices_of(root)?.iter().map(|device| format!("{device}/forwarding")));
    names.sort_unstable();
    let mut values = Vec::new();
    for name in names {
        values.extend(read(&format!("{root}/{name}"))?.map(|value| format!("{name}={value}")));
    }
    Ok(values.join(" "))
}

/// Gives a family's forwarding its former values: `all` first, as it writes the others.
///
/// # Errors
/// The kernel refuses.
pub(super) fn restore_forwarding(root: &str, former: &str) -> Result<(), HostError> {
    let values = || former.split(' ').filter_map(|value| value.rsplit_once('='));
    let (first, rest): (Vec<_>, Vec<_>) = values().partition(|(name, _)| *name == "all/forwarding");
    first.into_iter().chain(rest).try_for_each(|(name, value)| restore(&format!("{root}/{name}"), value))
}

/// Prepares a device of ours (host veth, overlay), whatever the present defaults for devices are: loose reverse path
/// filter, forwarding, and IPv6 on if served. The effective `rp_filter` is the larger of `all` and the device's, so 2
/// here is 2 whatever `all` says.
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
