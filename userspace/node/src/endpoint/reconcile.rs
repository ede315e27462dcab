//! Repair of differences between the store and the kernel, as [`naru_core::reconcile`] decides.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use naru_abi::{InterfaceValue, PodValue};
use naru_core::{
    ids::{Generation, Label, PodName},
    ipam::{DEFAULT_COOLING, Domain, Millis},
    reconcile::{Action, Facts, Finding, Kind, LiveLink, Pass, Policy, findings, reconcile},
};
use naru_netlink::links::{Link, Links, Route};
use naru_store::{Adoption, StateStore, StoreError};

use super::{Cause, PodNotes, Tools, detach, facts, namespaces, observe, restore};
use crate::{machine::NodeFacts, symmetry};

/// Time in which a DEL that was seen under way takes the veth down; the kernel needs 20 ms for that.
const SECOND_LOOK: Duration = Duration::from_millis(200);

/// The result of a pass.
#[derive(Debug, Default)]
pub struct Report {
    /// Repairs that were made.
    pub done: Vec<Action>,
    /// Repairs that failed; the next pass tries them again.
    pub failed: Vec<(Action, Cause)>,
    /// Addresses with more than one live holder, as the pass found them.
    pub duplicates: Vec<Finding>,
    /// The reason for which flows of freed addresses may be left; the next holder's ADD forgets them.
    pub flows: Option<Cause>,
    /// Interfaces whose filters were attached again.
    pub filters: Vec<String>,
    /// The reasons for which filters of other interfaces could not be attached.
    pub bare: Vec<Cause>,
    /// Number of addresses that have cooled long enough and are free again.
    pub cooled: usize,
    /// The reason for which that is not all of them.
    pub uncooled: Option<StoreError>,
}

/// One pass: looks, decides, acts. `previous` is what the pass before returned.
///
/// # Errors
/// An adapter could not be read; then nothing was done.
pub fn pass(
    tools: &mut Tools,
    node: &NodeFacts,
    policy: Policy,
    previous: &Pass,
    now: Millis,
) -> Result<(Report, Pass), Cause> {
    let facts = observe(tools)?;
    let (mut actions, next) = reconcile(&facts, policy, previous, now);
    let leaving = leaving(tools, &facts)?;
    actions.retain(|action| !restored(action).is_some_and(|ifindex| leaving.contains(&ifindex)));
    let mut duplicates = findings(&facts, policy, now);
    duplicates.retain(|finding| finding.kind == Kind::Duplicate);
    let mut report = Report { duplicates, ..Report::default() };
    for action in actions {
        match act(tools, node, &action, now) {
            Ok(true) => report.done.push(action),
            Ok(false) => {}
            Err(cause) => report.failed.push((action, cause)),
        }
    }
    report.flows = purge(tools, &report.done).err();
    // An ADD that is under way has yet to attach them.
    let rows = tools.store.rows()?;
    let wired: BTreeSet<(u32, Generation)> =
        rows.iter().filter(|row| row.confirmed).map(|row| (row.ifindex, row.generation)).collect();
    let is_wired = |link: &&LiveLink| {
        wired.contains(&(link.ifindex, link.alias.generation())) && !leaving.contains(&link.ifindex)
    };
    for link in facts.links.iter().filter(is_wired) {
        match restore_filters(tools, link) {
            Ok(is_restored) => report.filters.extend(is_restored.then(|| link.name.clone())),
            Err(cause) => report.bare.push(cause),
        }
    }
    match tools.store.sweep_all(DEFAULT_COOLING, now) {
        Ok(cooled) => report.cooled = cooled,
        Err(error) => report.uncooled = Some(error),
    }
    Ok((report, next))
}

/// Returns pods whose DEL is under way: it removes the interface from the map first, then the veth, then gives the
/// addresses back. A pod that is missing only in the map is looked at again, as a DEL would have got further by then.
/// In maps that are new, all pods are missing.
fn leaving(tools: &Tools, facts: &Facts) -> Result<BTreeSet<u32>, Cause> {
    let known: BTreeSet<u32> = tools.maps.interfaces.list()?.into_iter().collect();
    let mut suspects: BTreeSet<u32> =
        facts.links.iter().map(|link| link.ifindex).filter(|ifindex| !known.contains(ifindex)).collect();
    if known.is_empty() || suspects.is_empty() {
        return Ok(BTreeSet::new());
    }
    std::thread::sleep(SECOND_LOOK);
    let rows = tools.store.rows()?;
    let is_held = |ifindex: u32| rows.iter().any(|row| row.confirmed && row.ifindex == ifindex);
    let mut stays = Vec::new();
    for ifindex in &suspects {
        if is_held(*ifindex) && tools.links.link_at(*ifindex)?.is_some() {
            stays.push(*ifindex);
        }
    }
    suspects.retain(|ifindex| !stays.contains(ifindex));
    Ok(suspects)
}

/// The interface for which the action restores something.
const fn restored(action: &Action) -> Option<u32> {
    match action {
        Action::RestoreEntry { ifindex, .. } | Action::RestoreRoute { ifindex, .. } => Some(*ifindex),
        _ => None,
    }
}

/// Forgets the flows of addresses whose holders went without a DEL.
fn purge(tools: &mut Tools, done: &[Action]) -> Result<(), Cause> {
    let given_up = done.iter().filter_map(|action| match action {
        Action::Free { domain, address, .. } if *domain == Domain::naru() => Some(*address),
        Action::DeleteEntry(entry) => Some(entry.address),
        _ => None,
    });
    match given_up.collect::<Vec<IpAddr>>().as_slice() {
        [] => Ok(()),
        addresses => detach::purge(&mut tools.maps, addresses),
    }
}

/// Carries out one action. Returns false if another process did so meanwhile.
fn act(tools: &mut Tools, node: &NodeFacts, action: &Action, now: Millis) -> Result<bool, Cause> {
    match action {
        Action::Adopt { owner, addresses, netns, ifindex, generation } => {
            // The veth of an ADD that reserved its addresses after we read the rows; it confirms them itself.
            let held = tools.store.lease_of(&Domain::naru(), owner)?;
            if addresses.iter().all(|address| held.iter().any(|row| row.address == *address)) {
                return Ok(false);
            }
            let netns = match netns {
                Some(known) => Some(*known),
                None => namespaces::holder(&namespaces::alive()?, &tools.links, owner.ifname(), *ifindex)?,
            };
            let adoption = Adoption {
                domain: Domain::naru(),
                owner: owner.clone(),
                pod: PodName::default(),
                addresses: addresses.clone(),
                netns,
                ifindex: *ifindex,
                generation: *generation,
            };
            return Ok(tools.store.adopt(&adoption, now)?);
        }
        Action::Free { domain, address, generation } => {
            tools.store.free_if_generation(domain, *address, *generation, now)?;
        }
        Action::Quarantine { address, holders } => {
            let names: Vec<String> = holders.iter().map(ToString::to_string).collect();
            tools.store.quarantine(&Domain::naru(), *address, &names.join(" and "), now)?;
        }
        Action::DeleteLink { ifindex, name, alias } => {
            // Another alias under this name is another attachment's veth, made since we looked.
            let is_it =
                |link: Link| link.index == *ifindex && label(&link).is_some_and(|l| l.alias == *alias);
            if tools.links.link(name)?.is_some_and(is_it) {
                tools.links.delete_host_veth(name)?;
            }
            tools.maps.interfaces.remove(*ifindex)?;
        }
        Action::DeleteEntry(entry) => {
            tools.maps.pods.delete_generation(entry.address, entry.generation.0)?;
        }
        Action::DeleteRoute(route) => {
            let route = Route::to_pod(route.address, route.ifindex, None, 0);
            tools.links.delete_routes(&[route, route.spare()])?;
        }
        Action::ForgetInterface(ifindex) => detach::forget_gone(&tools.links, &mut tools.maps, *ifindex)?,
        Action::RestoreEntry { address, ifindex, generation } => {
            restore_entry(tools, *address, *ifindex, *generation)?;
        }
        Action::RestoreRoute { address, ifindex } => restore_route(tools, node, *address, *ifindex)?,
    }
    Ok(true)
}

fn restore_entry(
    tools: &mut Tools,
    address: IpAddr,
    ifindex: u32,
    generation: Generation,
) -> Result<(), Cause> {
    let Some(link) = tools.links.link_at(ifindex)? else { return Ok(()) };
    let InterfaceValue { flags, subject, host_mac, pod_mac, .. } = match tools.maps.interfaces.get(ifindex)? {
        Some(value) => value,
        None => interface_value(tools, &link)?,
    };
    let generation = generation.0;
    let value = PodValue {
        generation,
        ifindex,
        flags,
        subject,
        // As ADD has it: only of a pod that is judged.
        netns: if subject == 0 { 0 } else { crate::policy::netns(&link) },
        mtu: link.mtu,
        pod_mac,
        host_mac,
        ..PodValue::EMPTY
    };
    let (pods, records) = (&mut tools.maps.pods, &tools.maps.records);
    symmetry::enter(
        || symmetry::marks(records, address),
        |marks| pods.insert(address, value.with_marks(marks)),
    )?;
    Ok(())
}

fn label(link: &Link) -> Option<Label> {
    link.alias.parse().ok()
}

/// Returns the entry that `INTERFACES` must have for a pod's veth, made from what the kernel knows of the veth.
fn interface_value(tools: &Tools, link: &Link) -> Result<InterfaceValue, Cause> {
    let neighbours = tools.links.neighbours(link.index)?;
    let pod_mac = neighbours.first().map_or([0; 6], |one| one.mac.0);
    let flags = label(link).map_or(0, |label| label.flags);
    let host_mac = link.mac.map_or([0; 6], |mac| mac.0);
    Ok(InterfaceValue { ifindex: link.index, flags, subject: 0, host_mac, pod_mac })
}

fn restore_route(tools: &Tools, node: &NodeFacts, address: IpAddr, ifindex: u32) -> Result<(), Cause> {
    let Some(link) = tools.links.link_at(ifindex)? else { return Ok(()) };
    let source = node.source_for(address);
    let route = Route::to_pod(address, ifindex, source, link.mtu);
    let all = [route, route.spare()];
    Ok(tools.links.ensure_routes(if source.is_some() { &all } else { &all[..1] })?)
}

/// Attaches the pinned programs and enters the interface where init replaced maps or programs under a live pod;
/// detaches other programs of ours.
fn restore_filters(tools: &mut Tools, link: &LiveLink) -> Result<bool, Cause> {
    if tools.maps.interfaces.get(link.ifindex)?.is_none()
        && let Some(found) = tools.links.link_at(link.ifindex)?
    {
        let value = interface_value(tools, &found)?;
        tools.maps.interfaces.add(link.ifindex, value)?;
    }
    let flags = tools.maps.interfaces.get(link.ifindex)?.map_or(0, |known| known.flags);
    restore::put_right(&tools.maps.pins, &link.name, flags)
}

/// Writes every live veth into a store that lost its rows, before the first address is given out of it. An address
/// whose owner cannot be read from the alias is kept from everybody. Pods get the names that were noted for them.
/// Returns the number of veths.
///
/// # Errors
/// The kernel's side cannot be read, or the store not be written.
pub fn adopt(store: &mut StateStore, links: &Links, notes: &PodNotes, now: Millis) -> Result<usize, Cause> {
    let routes = facts::pod_routes(links)?;
    let live = facts::live_links(links, &routes)?;
    let namespaces = if live.is_empty() { BTreeMap::new() } else { namespaces::alive()? };
    for link in &live {
        adopt_one(store, (links, notes), link, &namespaces, now)?;
    }
    // The notes are read one by one: an ADD under way notes its pod when its veth is there.
    notes.retain(|name| !matches!(links.link(name), Ok(None)));
    Ok(live.len())
}

fn adopt_one(
    store: &mut StateStore,
    (links, notes): (&Links, &PodNotes),
    link: &LiveLink,
    namespaces: &BTreeMap<naru_core::ids::NetnsId, std::path::PathBuf>,
    now: Millis,
) -> Result<(), Cause> {
    let Some(owner) = link.alias.attachment() else {
        for address in &link.addresses {
            store.quarantine(&Domain::naru(), *address, &link.alias.to_string(), now)?;
        }
        return Ok(());
    };
    let adoption = Adoption {
        domain: Domain::naru(),
        netns: namespaces::holder(namespaces, links, owner.ifname(), link.ifindex)?,
        pod: notes.read(&owner),
        owner,
        addresses: link.addresses.clone(),
        ifindex: link.ifindex,
        generation: link.alias.generation(),
    };
    store.adopt(&adoption, now)?;
    Ok(())
}
