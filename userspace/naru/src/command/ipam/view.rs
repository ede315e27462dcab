use naru_netlink::links::Links;
use naru_node::machine;
use naru_node::machine::MARKS;
use naru_node::{
    endpoint::{Maps, Tools},
    machine::{MachineError, NodeFacts},
    paths::Paths,
};
use naru_store::StateStore;

/// Returns the node as it stands, and the tools to examine it.
pub fn open(paths: &Paths) -> anyhow::Result<(NodeFacts, Tools)> {
    let facts = machine::current(paths)?.ok_or(MachineError::NotReady)?;
    let tools = Tools {
        links: Links::open(MARKS)?,
        store: StateStore::open(&paths.lease_store(), &facts.boot_id)?,
        maps: Maps::open(paths.pins())?,
    };
    Ok((facts, tools))
}
