use naru_node::{
    datapath::Pins,
    endpoint::{Maps, Tools},
    init::{self, InitError, NodeFacts},
    links::Links,
    paths::Paths,
    store::StateStore,
};

/// The node as it stands, and what to look at it with.
pub fn open(paths: &Paths) -> anyhow::Result<(NodeFacts, Tools)> {
    let facts = init::current(paths)?.ok_or(InitError::NotReady)?;
    let tools = Tools {
        links: Links::open()?,
        store: StateStore::open(&paths.lease_store(), &facts.boot_id)?,
        maps: Maps::open(Pins::new(paths))?,
    };
    Ok((facts, tools))
}
