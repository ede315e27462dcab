//! Network namespaces that are alive, and the one that holds a pod's end of a veth pair.

use crate::machine::MARKS;
use naru_netlink::netns;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    os::{
        fd::AsFd,
        unix::{ffi::OsStringExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
};

use naru_core::ids::NetnsId;
use naru_netlink::{
    links::{self, LinkError, Links, Mac},
    netns::{NetnsError, NetnsIdentity},
};

/// Returns the identity that is written down: the cookie if the kernel has cookies, else the inode.
pub(crate) fn id(identity: NetnsIdentity) -> NetnsId {
    identity.cookie.map_or(NetnsId::Inode(identity.inode), NetnsId::Cookie)
}

/// Returns every namespace in which a process runs or that is mounted where runtimes mount them, with one path to each.
///
/// # Errors
/// The look was impossible, for want of procfs, descriptors or memory: a namespace that was not seen does not count as
/// dead then.
pub fn alive() -> Result<BTreeMap<NetnsId, PathBuf>, NetnsError> {
    let mut by_inode: BTreeMap<u64, PathBuf> = BTreeMap::new();
    for path in candidates()? {
        match fs::metadata(&path) {
            Ok(meta) => drop(by_inode.entry(meta.ino()).or_insert(path)),
            Err(source) => told(NetnsError::File { path, action: "look at", source })?,
        }
    }
    let mut found = BTreeMap::new();
    for path in by_inode.into_values() {
        match identify(&path) {
            Ok(id) => drop(found.insert(id, path)),
            Err(error) => told(error)?,
        }
    }
    Ok(found)
}

/// Ignores the error of one path, whose process ended or which we may not look at, but no error that any path would
/// have.
fn told(error: NetnsError) -> Result<(), NetnsError> {
    match error.errno() {
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) => Err(error),
        _ => Ok(()),
    }
}

fn candidates() -> Result<Vec<PathBuf>, NetnsError> {
    let mut all = mounted()?;
    for entry in fs::read_dir("/proc").map_err(unreadable("/proc"))? {
        let entry = entry.map_err(unreadable("/proc"))?;
        if entry.file_name().to_string_lossy().parse::<u32>().is_ok() {
            all.push(entry.path().join("ns/net"));
        }
    }
    Ok(all)
}

/// Mount points of nsfs files of network namespaces.
fn mounted() -> Result<Vec<PathBuf>, NetnsError> {
    const TABLE: &str = "/proc/self/mountinfo";
    fs::read(TABLE).map(|table| points(&table)).map_err(unreadable(TABLE))
}

fn unreadable(path: &'static str) -> impl Fn(io::Error) -> NetnsError {
    move |source| NetnsError::File { path: path.into(), action: "read", source }
}

/// Returns those in a table of mounts (`proc(5)`, mountinfo: root is field 4, mount point field 5). Paths are bytes,
/// and blanks in them are octal numbers.
fn points(table: &[u8]) -> Vec<PathBuf> {
    let point = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        root.starts_with(b"net:[").then(|| PathBuf::from(OsString::from_vec(unescaped(point))))
    };
    table.split(|byte| *byte == b'\n').filter_map(point).collect()
}

/// Returns the text with `\\040` and its like replaced by the bytes for which they stand.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let octal =
            after.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

fn identify(path: &Path) -> Result<NetnsId, NetnsError> {
    let netns = netns::open_netns(path)?;
    netns::netns_identity(netns.as_fd()).map(id)
}

/// The namespace among `alive` in which `ifname` is the other end of the host's interface `index`. Indexes repeat from
/// namespace to namespace, so the pod's MAC address must be the one that the host knows over that interface.
pub(super) fn holder(
    alive: &BTreeMap<NetnsId, PathBuf>,
    links: &Links,
    ifname: &str,
    index: u32,
) -> Result<Option<NetnsId>, LinkError> {
    let macs: Vec<Mac> = links.neighbours(index)?.into_iter().map(|neighbour| neighbour.mac).collect();
    let holds = |path: &Path| {
        let netns = netns::open_netns(path).ok()?;
        let link = links::pod_facts(netns.as_fd(), ifname, MARKS).ok()??.link;
        let same = link.peer_index == Some(index) && link.mac.is_some_and(|mac| macs.contains(&mac));
        same.then_some(())
    };
    Ok(alive.iter().find(|(_, path)| holds(path).is_some()).map(|(id, _)| *id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_mounted_below_any_name_is_found() {
        let table = b"41 26 0:4 net:[4026532] /run/netns/a rw - nsfs nsfs rw\n\
            42 26 0:4 net:[4026533] /run/my\\040pods/b\\134c\\x rw - nsfs nsfs rw\n\
            43 26 0:4 net:[4026534] /run/\xff rw - nsfs nsfs rw\n\
            44 26 0:5 / /run rw - tmpfs tmpfs rw\n";
        let found: Vec<Vec<u8>> =
            points(table).into_iter().map(|path| path.into_os_string().into_vec()).collect();
        assert_eq!(found, [&b"/run/netns/a"[..], b"/run/my pods/b\\c\\x", b"/run/\xff"]);
    }
}
