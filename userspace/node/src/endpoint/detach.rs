use std::net::IpAddr;

use naru_core::{
    ids::{AttachmentId, Generation, Label, host_ifname},
    ipam::{Domain, Millis, Row},
};
use naru_netlink::links::{Link, Links, RouteTarget};
use naru_store::{StateStore, failpoint::reach};

use super::{Cause, Maps};
use crate::symmetry;

/// The parts that were taken down, and those that were not.
#[derive(Debug, Default)]
pub struct Detached {
    /// True if the interface was there.
    pub link: bool,
    /// Addresses that were given back.
    pub addresses: Vec<IpAddr>,
    /// Refusals of the kernel: a part of the attachment is left.
    pub kernel: Vec<Cause>,
    /// Refusals of the store: the reconciler will give the addresses back.
    pub store: Vec<Cause>,
    /// Reasons for which flows of the addresses may be left; the next holder's ADD forgets them.
    pub flows: Vec<Cause>,
}

/// Takes the attachment down, as far as it exists: map entries, then the veth with everything that belongs to it, then
/// records of its flows, then the addresses. Continues after every error, and needs neither maps nor store nor the
/// pod's namespace.
pub fn detach(
    links: &Links,
    maps: Option<&mut Maps>,
    store: Option<&mut StateStore>,
    id: &AttachmentId,
    now: Millis,
) -> Detached {
    let mut done = Detached::default();
    let mut link = own_link(links, id).unwrap_or_else(|cause| {
        done.kernel.push(cause);
        None
    });
    let held = held(links, store.as_deref(), link.as_ref(), id, &mut done);
    if link.is_none() && done.kernel.is_empty() {
        link = renamed(links, &held, id).unwrap_or_else(|cause| {
            done.kernel.push(cause);
            None
        });
    }
    reach("detach-maps");
    let mut maps = maps;
    if let Some(maps) = maps.as_deref_mut() {
        forget(links, maps, link.as_ref(), &held, &mut done);
    }
    reach("detach-link");
    if let Some(link) = link {
        match links.delete_known_veth(&link) {
            Ok(there) => done.link = there,
            Err(error) => done.kernel.push(error.into()),
        }
    }
    reach("detach-flows");
    if let Some(maps) = maps {
        let addresses: Vec<IpAddr> = held.iter().map(|held| held.address).collect();
        done.flows.extend(purge(maps, &addresses).err());
    }
    reach("detach-release");
    if let Some(store) = store
        && done.kernel.is_empty()
    {
        match store.release(&Domain::naru(), id, now) {
            Ok(rows) => done.addresses = rows.into_iter().map(|row| row.address).collect(),
            Err(error) => done.store.push(error.into()),
        }
    }
    done
}

/// Returns the attachment's veth. Its name is a hash of the attachment: if somebody changed its alias, it is still that
/// veth, unless the alias is another attachment's.
pub(super) fn own_link(links: &Links, id: &AttachmentId) -> Result<Option<Link>, Cause> {
    let link = links.link(&host_ifname(id))?;
    let is_own = |link: &Link| match link.alias.parse::<Label>() {
        Ok(label) => label.alias.belongs_to(id),
        Err(_) => link.kind == "veth",
    };
    Ok(link.filter(is_own))
}

/// Returns the veth if somebody gave it another name, or another attachment's alias: the link with the store's index
/// that still has the other of the two.
fn renamed(links: &Links, held: &[Held], id: &AttachmentId) -> Result<Option<Link>, Cause> {
    let Some(known) = held.iter().find(|held| held.ifindex != 0) else { return Ok(None) };
    let is_own = |link: &Link| {
        let is_labelled = link.alias.parse::<Label>().is_ok_and(|label| label.alias.belongs_to(id));
        link.kind == "veth" && (is_labelled || link.name == host_ifname(id))
    };
    Ok(links.link_at(known.ifindex)?.filter(is_own))
}

/// One address of the attachment.
struct Held {
    address: IpAddr,
    generation: Generation,
    /// The veth's index, 0 if the store does not know it yet.
    ifindex: u32,
}

/// The attachment's addresses: from the store, or else from the host routes over its veth.
fn held(
    links: &Links,
    store: Option<&StateStore>,
    link: Option<&Link>,
    id: &AttachmentId,
    done: &mut Detached,
) -> Vec<Held> {
    let rows = store.map(|store| store.lease_of(&Domain::naru(), id));
    match rows {
        Some(Ok(rows)) if !rows.is_empty() => {
            let held =
                |row: Row| Held { address: row.address, generation: row.generation, ifindex: row.ifindex };
            return rows.into_iter().map(held).collect();
        }
        Some(Err(error)) => done.store.push(error.into()),
        _ => {}
    }
    let Some(link) = link else { return Vec::new() };
    let generation = link.alias.parse::<Label>().map(|label| label.alias.generation()).unwrap_or_default();
    let over = RouteTarget::Device { index: link.index };
    match links.routes() {
        Ok(routes) => routes
            .into_iter()
            .filter(|route| route.target == over)
            .map(|route| Held { address: route.destination.addr(), generation, ifindex: link.index })
            .collect(),
        Err(error) => {
            done.kernel.push(error.into());
            Vec::new()
        }
    }
}

/// Forgets flows of addresses to which nothing leads any more. If an address has another holder by now, that one keeps
/// its flows.
pub(super) fn purge(maps: &mut Maps, addresses: &[IpAddr]) -> Result<(), Cause> {
    let mut given_up = Vec::new();
    for address in addresses {
        if maps.pods.get(*address)?.is_none() {
            given_up.push(*address);
        }
    }
    Ok(symmetry::purge(&mut maps.records, &given_up)?)
}

fn forget(links: &Links, maps: &mut Maps, link: Option<&Link>, held: &[Held], done: &mut Detached) {
    for Held { address, generation, .. } in held {
        let result = maps.pods.delete_generation(*address, generation.0);
        done.kernel.extend(result.err().map(Cause::from));
    }
    let known = held.iter().find(|held| held.ifindex != 0);
    let result = match (link, known) {
        (Some(link), _) => maps.interfaces.remove(link.index).map(drop).map_err(Cause::from),
        (None, Some(held)) => forget_gone(links, maps, held.ifindex),
        (None, None) => Ok(()),
    };
    // If somebody removed the pins meanwhile, there is nothing left to forget.
    done.kernel.extend(result.err().filter(|cause| !is_not_installed(cause)));
}

fn is_not_installed(cause: &Cause) -> bool {
    matches!(cause, Cause::Datapath(error) if error.is_not_installed())
}

/// Forgets an interface that went with its pod's namespace. The kernel reuses indexes: if an interface with this index
/// exists, it is another one.
pub(super) fn forget_gone(links: &Links, maps: &mut Maps, ifindex: u32) -> Result<(), Cause> {
    if links.link_at(ifindex)?.is_none() {
        maps.interfaces.remove(ifindex)?;
    }
    Ok(())
}
