use std::collections::BTreeSet;

use crate::machine::MARKS;
use ipnet::IpNet;
use naru_core::cluster::ClusterSpec;
use naru_netlink::links::Links;

use crate::{
    devices::{adapt, ensure_overlay, publish},
    machine::{self, MachineError, Request, Settings, Survey, current},
};
use crate::{
    paths::Paths,
    readiness::Record,
    sync::{self, Changes},
};

/// Applies a cluster in which only other nodes, or the masqueraded destinations, changed: maps, routes, rules,
/// firewall, the tunnel device's MTU and the saved settings; also new ranges of Services, unless there are none.
/// Returns `None` if more than that changed or the node is not initialised: then init has to do it.
///
/// # Errors
/// As [`super::run`].
pub fn follow(
    paths: &Paths,
    cluster: ClusterSpec,
    services: Vec<IpNet>,
) -> Result<Option<Changes>, MachineError> {
    if current(paths)?.is_none() {
        return Ok(None);
    }
    let _lock = machine::lock(paths)?;
    let Some(before) = Settings::load(paths)? else { return Ok(None) };
    let request = Request { cluster: Some(cluster), services, ..Request::default() };
    let settings = Settings::merge(Some(&before), &request)?;
    if !is_same_here(&before, &settings) {
        return Ok(None);
    }
    let (links, pins) = (Links::open(MARKS)?, paths.pins());
    let survey = Survey::take(&links, &settings)?;
    ensure_overlay(&links, &pins, &settings, &survey)?;
    adapt(paths, &pins, &settings, &survey)?;
    let changes = sync::apply(&links, &pins, &settings, &survey)?;
    Record::note(paths, (&links, &pins), (&settings, &survey), changes.mirrored)?;
    // Saved even if single changes were refused, or the next look would undo the others.
    settings.save(paths)?;
    publish(paths, &links, &settings, &survey)?;
    Ok(Some(changes))
}

/// Returns true if the ranges are the same, or are just the blocks together: those come and go with nodes, and nothing
/// that a node does depends on them.
fn is_same_range(before: &ClusterSpec, after: &ClusterSpec) -> bool {
    let is_made_of_blocks = |cluster: &ClusterSpec| {
        let blocks = cluster.nodes.iter().flat_map(|node| node.blocks.iter().copied()).collect();
        let ranges: BTreeSet<IpNet> = cluster.ranges.iter().copied().collect();
        IpNet::aggregate(&blocks).into_iter().collect::<BTreeSet<_>>() == ranges
    };
    before.ranges == after.ranges || (is_made_of_blocks(before) && is_made_of_blocks(after))
}

/// Returns true if the cluster says the same about this node itself as before.
fn is_same_here(before: &Settings, after: &Settings) -> bool {
    let own = |settings: &Settings| settings.cluster.node(&settings.node).cloned();
    is_same_range(&before.cluster, &after.cluster)
        && before.families() == after.families()
        && before.cluster.tunnel == after.cluster.tunnel
        && before.is_clustered() == after.is_clustered()
        && own(before) == own(after)
}
