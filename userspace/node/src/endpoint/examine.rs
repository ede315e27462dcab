use naru_core::{
    ipam::Millis,
    reconcile::{Finding, Kind, LiveLink, Policy, findings},
};

use super::{Cause, Tools, observe};
use crate::datapath;

/// Every difference between the store and the kernel that one look shows; changes nothing.
///
/// # Errors
/// An adapter's; half a picture is none.
pub fn examine(tools: &Tools, policy: Policy, now: Millis) -> Result<Vec<Finding>, Cause> {
    let facts = observe(tools)?;
    let mut all = findings(&facts, policy, now);
    all.extend(facts.links.iter().filter_map(|link| unfiltered(tools, link)));
    all.sort_unstable();
    Ok(all)
}

/// A veth whose packets our programs do not see. One that is gone since we looked is none.
fn unfiltered(tools: &Tools, link: &LiveLink) -> Option<Finding> {
    let filters = datapath::pod_filters(&tools.maps.pins, &link.name).ok()?;
    let what = format!("veth {} has not both programs attached", link.name);
    let finding = Finding { kind: Kind::Missing, address: link.addresses.first().copied(), what };
    (!filters.is_complete()).then_some(finding)
}
