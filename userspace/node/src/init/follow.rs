use naru_core::cluster::ClusterSpec;

use super::{InitError, Memory, Request, Survey, current, files, overlay, run};
use crate::{
    datapath::Pins,
    links::Links,
    paths::Paths,
    sync::{self, Changes},
};

/// Goes over to a cluster in which only other nodes, or what is masqueraded, changed: maps, routes, rules, firewall, the
/// tunnel device's MTU, and the memory of it all. `None` where more than that changed, or the node is not initialised:
/// then it is init's business.
///
/// # Errors
/// As [`super::run`].
pub fn follow(paths: &Paths, cluster: ClusterSpec) -> Result<Option<Changes>, InitError> {
    if current(paths)?.is_none() {
        return Ok(None);
    }
    let _lock = files::lock(paths)?;
    let Some(before) = Memory::load(paths)? else { return Ok(None) };
    let request = Request { cluster: Some(cluster), ..Request::default() };
    let memory = Memory::merge(Some(&before), &request)?;
    if !is_same_here(&before, &memory) {
        return Ok(None);
    }
    let (links, pins) = (Links::open()?, Pins::new(paths));
    let survey = Survey::take(&links, &memory)?;
    overlay::ensure(&links, &pins, &memory, &survey)?;
    let changes = sync::apply(&links, &pins, &memory, &survey)?;
    memory.save(paths)?;
    files::write_json(&paths.node_facts(), &run::facts(&memory, &survey)?)?;
    Ok(Some(changes))
}

/// Whether the cluster asks of this node itself what it asked before.
fn is_same_here(before: &Memory, after: &Memory) -> bool {
    let own = |memory: &Memory| memory.cluster.node(&memory.node).cloned();
    before.cluster.ranges == after.cluster.ranges
        && before.cluster.tunnel == after.cluster.tunnel
        && before.is_clustered() == after.is_clustered()
        && own(before) == own(after)
}
