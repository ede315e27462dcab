use naru_core::cluster::ClusterSpec;

use super::{InitError, Memory, NodeFacts, Request, Survey, config, current, files, overlay, run, uplinks};
use crate::{
    datapath::Pins,
    links::{Link, Links},
    paths::Paths,
    store::NodeStore,
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
    adapt(paths, &pins, &memory, &survey)?;
    let changes = sync::apply(&links, &pins, &memory, &survey)?;
    memory.save(paths)?;
    publish(paths, &links, &memory, &survey)?;
    Ok(Some(changes))
}

/// Goes over to what the machine is now, its uplinks and addresses: the tunnel device's MTU, the programs' configuration
/// and where they are attached. `overlay` is the tunnel device.
pub(crate) fn readjust(
    paths: &Paths,
    links: &Links,
    memory: &Memory,
    survey: &Survey,
    overlay: Option<&Link>,
) -> Result<(), InitError> {
    let pins = Pins::new(paths);
    // Repeating the whole of it would be announced, and wake the agent again.
    if overlay.is_some_and(|link| link.mtu != overlay::device_mtu(memory, survey)) {
        overlay::ensure(links, &pins, memory, survey)?;
    }
    config::ensure(links, &pins, memory, survey, overlay.map_or(0, |link| link.index))?;
    adapt(paths, &pins, memory, survey)?;
    publish(paths, links, memory, survey)
}

fn adapt(paths: &Paths, pins: &Pins, memory: &Memory, survey: &Survey) -> Result<(), InitError> {
    if !uplinks::strict(memory, survey)?.is_empty() {
        uplinks::loosen(memory, survey, &mut NodeStore::open(&paths.node_store())?)?;
    }
    uplinks::ensure(pins, memory, survey, NodeFacts::load(paths)?.as_ref())
}

fn publish(paths: &Paths, links: &Links, memory: &Memory, survey: &Survey) -> Result<(), InitError> {
    let facts = run::facts(links, memory, survey)?;
    if NodeFacts::load(paths)?.as_ref() != Some(&facts) {
        files::write_json(&paths.node_facts(), &facts)?;
    }
    Ok(())
}

/// Whether the cluster asks of this node itself what it asked before.
fn is_same_here(before: &Memory, after: &Memory) -> bool {
    let own = |memory: &Memory| memory.cluster.node(&memory.node).cloned();
    before.cluster.ranges == after.cluster.ranges
        && before.cluster.tunnel == after.cluster.tunnel
        && before.is_clustered() == after.is_clustered()
        && own(before) == own(after)
}
