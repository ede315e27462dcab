use super::{HostError, bpffs, forward, sysctl};

/// Makes the entry's subject be as it was: the exact inverse of the change that remembered it. Repeating it, or undoing
/// what is gone (a device's sysctl), changes nothing.
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
