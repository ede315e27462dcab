//! The repairs between the store and the kernel. The kernel is the witness: nothing is removed before two passes saw
//! it dead, and everything that lives in the kernel is written back into the store.

mod facts;
mod findings;
mod pass;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod view;

pub use facts::{Action, Facts, HostRoute, LiveLink, MapEntry, Policy};
pub use findings::{Finding, Kind, findings};
pub use pass::Pass;

use pass::{Suspect, Watch};
use view::{Standing, View};

use crate::ids::Generation;
use crate::ipam::{Millis, Row, State};

/// The actions that are due, and the memory for the next pass.
#[must_use]
pub fn reconcile(facts: &Facts, policy: Policy, previous: &Pass, now: Millis) -> (Vec<Action>, Pass) {
    let view = View::new(facts);
    let mut watch = Watch::new(previous, policy.gap, now);
    let mut actions = Vec::new();
    for link in &facts.links {
        actions.extend(quarantines(&view, link));
        actions.extend(adoption(&view, link));
    }
    for row in &facts.rows {
        actions.extend(restored(&view, facts, row));
        if is_dead(&view, policy, row, now)
            && watch.confirms(Suspect::Row(row.domain.clone(), row.address, row.generation))
        {
            let (domain, address, generation) = (row.domain.clone(), row.address, row.generation);
            actions.push(Action::Free { domain, address, generation });
        }
    }
    actions.extend(remains(&view, facts, policy, &mut watch));
    (actions, watch.next)
}

/// Addresses of a live veth that no attachment may have, because another veth has them too or because the veth's
/// alias does not tell its owner. Each is named once, by the first of its holders.
fn quarantines(view: &View<'_>, link: &LiveLink) -> Vec<Action> {
    let unclear = |holders: &[&LiveLink]| match holders {
        [] => false,
        [only] => only.alias.attachment().is_none() && view.standing(only) == Standing::Unknown,
        _ => true,
    };
    let open = |row: Option<&Row>| row.is_none_or(|row| row.state == State::Cooling);
    let mut actions = Vec::new();
    for &address in &link.addresses {
        let holders = view.holders(address);
        let first = holders.first().is_some_and(|first| first.ifindex == link.ifindex);
        if first && unclear(holders) && open(view.row(address)) {
            let mut holders: Vec<_> = holders.iter().map(|holder| holder.alias.clone()).collect();
            holders.sort_unstable();
            actions.push(Action::Quarantine { address, holders });
        }
    }
    actions
}

/// Adopts a live veth with the addresses that it alone has and that the store gives to nobody. For a veth that the
/// store does not know these are all of its addresses, for another those whose quarantine has ended.
fn adoption(view: &View<'_>, link: &LiveLink) -> Option<Action> {
    let standing = view.standing(link);
    let owner = link.alias.attachment().filter(|_| standing != Standing::Ended)?;
    let open = |row: Option<&Row>| match row.map(|row| row.state) {
        Some(State::Quarantined) => true,
        None | Some(State::Cooling) => standing == Standing::Unknown,
        Some(_) => false,
    };
    let mut addresses = link.addresses.clone();
    addresses.retain(|address| view.holders(*address).len() == 1 && open(view.row(*address)));
    let (netns, ifindex, generation) = (link.netns, link.ifindex, link.alias.generation());
    (!addresses.is_empty()).then_some(Action::Adopt { owner, addresses, netns, ifindex, generation })
}

/// Restores what the kernel lacks of an attachment that is wired by this very veth. A veth of an ADD under way has
/// another index, even if an earlier ADD was confirmed.
fn restored(view: &View<'_>, facts: &Facts, row: &Row) -> Vec<Action> {
    let wired = row.state == State::Assigned && row.confirmed;
    let wired_by = |link: &&LiveLink| wired && link.ifindex == row.ifindex;
    let Some(link) = view.link_of(row).filter(wired_by) else { return Vec::new() };
    let (address, ifindex, generation) = (row.address, link.ifindex, row.generation);
    let mut actions = Vec::new();
    if !facts.entries.contains(&MapEntry { address, ifindex, generation }) {
        actions.push(Action::RestoreEntry { address, ifindex, generation });
    }
    if !facts.routes.contains(&HostRoute { address, ifindex }) {
        actions.push(Action::RestoreRoute { address, ifindex });
    }
    actions
}

fn is_dead(view: &View<'_>, policy: Policy, row: &Row, now: Millis) -> bool {
    let held = matches!(row.state, State::Assigned | State::Quarantined);
    let under_way =
        row.state == State::Assigned && !row.confirmed && now.abs_diff(row.since) < policy.unconfirmed_age;
    held && !under_way && !view.lives(row)
}

/// Deletes the leftovers of attachments that are gone: entries and routes first, so that nothing leads to a veth when
/// it goes.
fn remains(view: &View<'_>, facts: &Facts, policy: Policy, watch: &mut Watch<'_>) -> Vec<Action> {
    let mut actions = Vec::new();
    for entry in &facts.entries {
        let link = view.link_at(entry.ifindex);
        let of_link = |link: &LiveLink| {
            link.alias.generation() == entry.generation && view.belongs(entry.address, link)
        };
        if !link.is_some_and(of_link) && watch.confirms(Suspect::Entry(*entry)) {
            actions.push(Action::DeleteEntry(*entry));
        }
    }
    for route in &facts.routes {
        let link = view.link_at(route.ifindex);
        if !link.is_some_and(|link| view.belongs(route.address, link))
            && watch.confirms(Suspect::Route(*route))
        {
            actions.push(Action::DeleteRoute(*route));
        }
    }
    for link in &facts.links {
        let bare = view.standing(link) == Standing::Unknown && link.addresses.is_empty();
        let dead = bare || view.standing(link) == Standing::Ended;
        let is_prepared = bare && link.alias.generation() == Generation::default();
        let gap = if is_prepared { policy.prepared_age } else { policy.gap };
        if dead && watch.confirms_after(gap, Suspect::Link(link.ifindex, link.alias.clone())) {
            let (ifindex, name, alias) = (link.ifindex, link.name.clone(), link.alias.clone());
            actions.push(Action::DeleteLink { ifindex, name, alias });
        }
    }
    let orphans = facts.orphans.iter().filter(|ifindex| watch.confirms(Suspect::Interface(**ifindex)));
    actions.extend(orphans.map(|ifindex| Action::ForgetInterface(*ifindex)));
    actions
}
