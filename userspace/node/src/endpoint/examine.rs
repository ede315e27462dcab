use naru_core::{
    ipam::{IndexFault, Millis},
    reconcile::{Finding, Kind, LiveLink, Policy, findings},
};

use super::{Cause, Tools, observe};

/// Returns every difference between the store and the kernel, and within the store, that one look shows; changes
/// nothing.
///
/// # Errors
/// An adapter's; no partial result is returned.
pub fn examine(tools: &Tools, policy: Policy, now: Millis) -> Result<Vec<Finding>, Cause> {
    let facts = observe(tools)?;
    let mut all = findings(&facts, policy, now);
    all.extend(facts.links.iter().filter_map(|link| unfiltered(tools, link)));
    all.extend(tools.store.index_faults()?.iter().map(misindexed));
    all.sort_unstable();
    Ok(all)
}

/// A finding about addresses for which the index of free addresses is wrong: they are lost, or looked at in vain.
fn misindexed(fault: &IndexFault) -> Finding {
    let kind = if fault.held { Kind::Missing } else { Kind::Leak };
    Finding::of(kind, fault.first, fault.to_string())
}

/// A finding about a veth whose packets our programs do not see. A veth that went since we looked is none.
fn unfiltered(tools: &Tools, link: &LiveLink) -> Option<Finding> {
    let filters = naru_bpf::pod_filters(&tools.maps.pins, &link.name).ok()?;
    let what = format!("veth {} has not both programs attached", link.name);
    let finding = Finding { kind: Kind::Missing, address: link.addresses.first().copied(), what };
    (!filters.is_complete()).then_some(finding)
}
