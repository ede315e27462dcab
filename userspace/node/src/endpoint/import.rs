//! Import of addresses that host-local gave to containers that still live.

use crate::machine::MARKS;
use naru_netlink::netns;
use std::{collections::BTreeMap, fs, net::IpAddr, os::fd::AsFd, path::Path};

use naru_core::{
    ids::{AttachmentId, Generation, NetnsId, PodName},
    ipam::{Adoption, Domain, HostLocalFile, IpamError, Millis},
};
use naru_netlink::links;
use naru_store::{StateStore, StoreError};

use super::{Cause, namespaces};

/// The result for one file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Imported {
    /// The address belongs to the container in our store now.
    Adopted,
    /// It belonged to the container already.
    Known,
    /// No namespace has the address at that interface: its holder is gone.
    Stale,
    /// It cannot be taken over, with the reason.
    Refused(String),
}

/// The directory's entries, in the order of their addresses.
///
/// # Errors
/// The directory cannot be read.
pub fn host_local_files(directory: &Path) -> std::io::Result<Vec<HostLocalFile>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !entry.file_type()?.is_file() {
            continue;
        }
        let content = String::from_utf8_lossy(&fs::read(entry.path())?).into_owned();
        all.extend(HostLocalFile::read(&name, &content));
    }
    all.sort_by_key(|file| file.address);
    Ok(all)
}

/// Adopts every address that a live namespace has, for the attachment of `network` that the file names. No container is
/// touched. Returns the results of the files in their order.
///
/// # Errors
/// The store; an address that somebody else holds is told in the answer.
pub fn import(
    store: &mut StateStore,
    files: &[HostLocalFile],
    (domain, network): (&Domain, &str),
    now: Millis,
) -> Result<Vec<Imported>, Cause> {
    let live = live_addresses(files)?;
    let mut done = Vec::new();
    for file in files {
        let holders = live.get(&(file.address, file.ifname.clone())).map_or(&[][..], Vec::as_slice);
        done.push(match (AttachmentId::new(network, &file.container, &file.ifname), holders) {
            (_, []) => Imported::Stale,
            (Err(why), _) => Imported::Refused(why.to_string()),
            (Ok(owner), [netns]) => adopt(store, (domain, owner), file.address, *netns, now)?,
            (Ok(_), several) => Imported::Refused(format!("{} namespaces have it", several.len())),
        });
    }
    Ok(done)
}

fn adopt(
    store: &mut StateStore,
    (domain, owner): (&Domain, AttachmentId),
    address: IpAddr,
    netns: NetnsId,
    now: Millis,
) -> Result<Imported, StoreError> {
    let adoption = Adoption {
        domain: domain.clone(),
        owner,
        pod: PodName::default(),
        addresses: vec![address],
        netns: Some(netns),
        ifindex: 0,
        generation: Generation(0),
    };
    match store.adopt(&adoption, now) {
        Ok(true) => Ok(Imported::Adopted),
        Ok(false) => Ok(Imported::Known),
        Err(IpamError::Store(error)) => Err(error),
        Err(error) => Ok(Imported::Refused(error.to_string())),
    }
}

/// Namespaces by an address and the interface that has it.
type LiveAddresses = BTreeMap<(IpAddr, String), Vec<NetnsId>>;

/// The live namespaces, with the addresses at the files' interfaces.
fn live_addresses(files: &[HostLocalFile]) -> Result<LiveAddresses, Cause> {
    let mut names: Vec<&str> = files.iter().map(|file| file.ifname.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let mut live = LiveAddresses::new();
    for (id, path) in namespaces::alive()? {
        for name in &names {
            for address in addresses(&path, name) {
                live.entry((address, (*name).to_owned())).or_default().push(id);
            }
        }
    }
    Ok(live)
}

/// Addresses of an interface in a namespace; none where either went away.
fn addresses(path: &Path, name: &str) -> Vec<IpAddr> {
    let Ok(netns) = netns::open_netns(path) else { return Vec::new() };
    let facts = links::pod_facts(netns.as_fd(), name, MARKS).ok().flatten();
    facts.into_iter().flat_map(|facts| facts.addresses).map(|address| address.ip).collect()
}
