use super::{HostError, bpffs, forward, sysctl};

/// Restores the entry's subject: the exact inverse of the change that remembered it. It changes nothing to repeat it,
/// or to undo something that is gone (a device's sysctl).
///
/// # Errors
/// The key is not one of ours, or the change is refused.
pub fn undo(key: &str, former: &str) -> Result<(), HostError> {
    match key.split_once(' ') {
        Some((sysctl::KEY, name)) => sysctl::restore(name, former),
        Some((sysctl::FORWARDING, root)) => sysctl::restore_forwarding(root, former),
        Some((forward::KEY, chain)) => forward::close(chain),
        Some((bpffs::KEY, directory)) => bpffs::unmount_bpffs(directory.as_ref()).map(drop),
        _ => Err(HostError::UnknownKey { key: key.to_owned() }),
    }
}
