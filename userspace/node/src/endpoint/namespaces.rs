//! Which network namespaces are alive, and which of them holds a pod's end.

use crate::machine::MARKS;
use naru_netlink::netns;
use std::{
    collections::BTreeMap,
    fs,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

use naru_core::ids::NetnsId;
use naru_netlink::{
    links::{self, LinkError, Links, Mac},
    netns::NetnsIdentity,
};

/// The identity that is written down: the cookie where the kernel has it, else the inode.
pub(crate) fn id(identity: NetnsIdentity) -> NetnsId {
    identity.cookie.map_or(NetnsId::Inode(identity.inode), NetnsId::Cookie)
}

/// Every namespace that a process runs in or that is mounted where runtimes mount them, with one path to each.
#[must_use]
pub fn alive() -> BTreeMap<NetnsId, PathBuf> {
    let mut by_inode: BTreeMap<u64, PathBuf> = BTreeMap::new();
    for path in candidates() {
        if let Ok(meta) = fs::metadata(&path) {
            by_inode.entry(meta.ino()).or_insert(path);
        }
    }
    by_inode.into_values().filter_map(|path| Some((identify(&path)?, path))).collect()
}

fn candidates() -> Vec<PathBuf> {
    let numbered = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().parse::<u32>().is_ok();
    let processes = entries(Path::new("/proc")).filter(numbered).map(|entry| entry.path().join("ns/net"));
    processes.chain(mounted()).collect()
}

fn entries(directory: &Path) -> impl Iterator<Item = fs::DirEntry> + use<> {
    fs::read_dir(directory).into_iter().flatten().flatten()
}

/// Mount points of nsfs files of network namespaces (`proc(5)`, mountinfo: root is field 4, mount point field 5).
fn mounted() -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let point = |line: &str| {
        let mut fields = line.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        root.starts_with("net:[").then(|| PathBuf::from(point))
    };
    table.lines().filter_map(point).collect()
}

fn identify(path: &Path) -> Option<NetnsId> {
    let netns = netns::open_netns(path).ok()?;
    netns::netns_identity(netns.as_fd()).ok().map(id)
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
