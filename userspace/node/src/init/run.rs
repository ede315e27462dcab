use std::net::IpAddr;

use naru_core::{
    ipam::Domain,
    overlap::Clash,
    reconcile::{Pass, Policy},
};

use super::{
    AgentPlace, DEVICE, InitError, Memory, NodeFacts, Request, Survey, conflist, directories, files, overlay,
    pools, uplinks, versions,
};
use crate::{
    datapath::{self, AttachMode, Installed, Pins},
    delegate,
    endpoint::{Maps, Tools, reconcile},
    host::{self, forward, sysctl},
    links::Links,
    paths::Paths,
    store::{NodeStore, Start, StateStore},
    sync::{self, Changes},
};

/// A node as init leaves it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ready {
    /// What attachments need.
    pub facts: NodeFacts,
    /// What was told.
    pub memory: Memory,
    /// How the programs are attached to the tunnel device; `None` without one.
    pub attach: Option<AttachMode>,
    /// What of maps and programs was new.
    pub installed: Installed,
    /// What of maps, routes and rules was changed.
    pub changes: Changes,
}

/// Makes this machine the node that `request` and the init before say. Changes nothing that is already so.
///
/// # Errors
/// [`InitError`]. What is refused on the way in (probe, overlap, unknown node) leaves no trace; after another error
/// run it again.
pub fn run(paths: &Paths, request: &Request) -> Result<Ready, InitError> {
    let links = Links::open()?;
    check(paths, request, &links, Caller::Anybody)?;
    let mut node = open_store(paths)?;
    let _lock = files::lock(paths)?;
    locked(paths, request, links, &mut node)
}

/// As [`run`] by the node's agent, which takes its `place` before anything is changed, and keeps it.
///
/// # Errors
/// As [`run`]; [`InitError::AgentRuns`] where another process has the place.
pub fn run_as_agent(
    paths: &Paths,
    request: &Request,
    place: &mut Option<AgentPlace>,
) -> Result<Ready, InitError> {
    if !place.as_ref().is_some_and(|place| place.is_held(paths)) {
        *place = AgentPlace::take_existing(paths)?;
    }
    let links = Links::open()?;
    check(paths, request, &links, Caller::Agent)?;
    let mut node = open_store(paths)?;
    if place.is_none() {
        *place = Some(AgentPlace::take(paths)?);
    }
    let _lock = files::lock(paths)?;
    locked(paths, request, links, &mut node)
}

/// [`run`], unless whoever had the lock before did what is needed, as `is_enough` says.
pub(super) fn run_unless(
    paths: &Paths,
    request: &Request,
    is_enough: impl Fn(&NodeFacts) -> bool,
) -> Result<NodeFacts, InitError> {
    let links = Links::open()?;
    check(paths, request, &links, Caller::Anybody)?;
    let mut node = open_store(paths)?;
    let _lock = files::lock(paths)?;
    if let Some(facts) = super::current(paths)?.filter(is_enough) {
        return Ok(facts);
    }
    Ok(locked(paths, request, links, &mut node)?.facts)
}

/// Who makes this machine a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Caller {
    Agent,
    Anybody,
}

/// Refuses what can be refused before anything is changed.
fn check(paths: &Paths, request: &Request, links: &Links, caller: Caller) -> Result<(), InitError> {
    versions::refuse_newer(paths)?;
    if caller == Caller::Anybody && versions::is_older(paths)? {
        // An agent that runs has left it at that: it is as old, and would take back what is made of it.
        AgentPlace::refuse_other(paths)?;
    }
    let missing: Vec<String> = datapath::probe().missing().map(str::to_owned).collect();
    if !missing.is_empty() {
        return Err(InitError::MissingFeatures(missing));
    }
    consider(paths, request, links).map(drop)
}

/// The directories, and in them the store with the journal.
fn open_store(paths: &Paths) -> Result<NodeStore, InitError> {
    directories::make_state(paths)?;
    let mut node = NodeStore::migrate(&paths.node_store())?;
    directories::make(paths, &mut node)?;
    Ok(node)
}

/// The plan itself; the caller holds the lock.
fn locked(paths: &Paths, request: &Request, links: Links, node: &mut NodeStore) -> Result<Ready, InitError> {
    // Somebody else may have had the lock since the check.
    let (memory, survey) = consider(paths, request, &links)?;
    let ready = prepare(paths, memory, &survey, links, node)?;
    // Traffic first: what follows waits for the disk.
    ready.memory.save(paths)?;
    node.identity(&ready.facts.node)?;
    if node.last_boot()?.as_ref() != Some(&ready.facts.boot_id) {
        node.set_last_boot(&ready.facts.boot_id)?;
        release_stale(paths, &ready.facts, node)?;
    }
    forward::open(node)?;
    files::write_json(&paths.node_facts(), &ready.facts)?;
    conflist::ensure(paths, &ready.memory, node)?;
    Ok(ready)
}

/// Other IPAM plugins are told that their leases ended with the boot they were made in. What they refuse is tried
/// again by the next ADD of such a network.
fn release_stale(paths: &Paths, facts: &NodeFacts, node: &mut NodeStore) -> Result<(), InitError> {
    if node.delegated()?.is_empty() {
        return Ok(());
    }
    let _lock = delegate::lock(paths)?;
    delegate::release_those(node, |lease| lease.boot_id != facts.boot_id)?;
    Ok(())
}

/// What shall be, and what the machine is like; refuses what cannot be.
fn consider(paths: &Paths, request: &Request, links: &Links) -> Result<(Memory, Survey), InitError> {
    let before = Memory::load(paths)?;
    let memory = Memory::merge(before.as_ref(), request)?;
    let survey = Survey::take(links, &memory)?;
    refuse_overlap(before.as_ref(), &memory, &survey)?;
    if before.is_none() {
        refuse_other_machine(&memory, &survey)?;
    }
    Ok((memory, survey))
}

/// Everything in the kernel, and the store of addresses.
fn prepare(
    paths: &Paths,
    mut memory: Memory,
    survey: &Survey,
    links: Links,
    node: &mut NodeStore,
) -> Result<Ready, InitError> {
    host::ensure_bpffs(&paths.bpf, node)?;
    let pins = Pins::new(paths);
    let installed = datapath::install(&pins, memory.sizes())?;
    sysctl::forward_packets(overlay::families(&memory), &survey.advertised, node)?;
    let attach = overlay::ensure(&links, &pins, &memory, survey)?;
    uplinks::loosen(&memory, survey, node)?;
    uplinks::ensure(&pins, &memory, survey, NodeFacts::load(paths)?.as_ref())?;
    let mut facts = facts(&links, &memory, survey)?;
    let (mut state, start) = StateStore::create(&paths.lease_store(), &facts.boot_id, host::now())?;
    // naru-ipam may have made the store: what it did not find there it did not adopt either.
    let is_known = start == Start::Kept && state.ranges()?.iter().any(|range| range.domain == Domain::naru());
    pools::ensure(&memory, &mut state, node)?;
    // A store that is new does not know yet who lives in them.
    if is_known || start == Start::Rebooted {
        pools::forget_drained(&mut memory, &state)?;
        facts.pools = memory.pool_facts();
    }
    let links = match is_known && installed == Installed::default() {
        true => links,
        false => restore_pods(&facts, &pins, links, state)?,
    };
    datapath::discard_other_versions(&pins)?;
    let changes = sync::apply(&links, &pins, &memory, survey)?;
    Ok(Ready { facts, memory, attach, installed, changes })
}

/// Writes the pods that live in the kernel into a new store and new maps, and gives them new programs.
fn restore_pods(
    facts: &NodeFacts,
    pins: &Pins,
    links: Links,
    mut store: StateStore,
) -> Result<Links, InitError> {
    reconcile::adopt(&mut store, &links, host::now())?;
    let mut tools = Tools { links, store, maps: Maps::open(pins.clone())? };
    reconcile::pass(&mut tools, facts, Policy::default(), &Pass::default(), host::now())?;
    Ok(tools.links)
}

pub(super) fn facts(links: &Links, memory: &Memory, survey: &Survey) -> Result<NodeFacts, InitError> {
    let own = memory.cluster.node(&memory.node);
    let is_here = |address: &IpAddr| survey.addresses.contains(address);
    let addresses = match own {
        Some(own) => own.addresses.iter().copied().filter(is_here).collect(),
        None => survey.addresses.clone(),
    };
    Ok(NodeFacts {
        boot_id: host::boot_id()?,
        abi: naru_abi::ABI_VERSION,
        node: memory.node.clone(),
        addresses,
        blocks: memory.blocks().to_vec(),
        delegated: memory.delegated.clone(),
        pools: memory.pool_facts(),
        subnets: memory.pools.iter().map(|pool| pool.subnets.clone()).collect(),
        pod_mtu: survey.pod_mtu(memory),
        device_port: links.overlay_port(DEVICE)?,
        tunnel_port: memory.is_clustered().then_some(memory.cluster.tunnel.port),
        uplinks: uplinks::wanted(memory, survey).into_iter().collect(),
        sends_around: uplinks::sends_around(memory),
    })
}

/// Ranges that are new must be nobody else's; those accepted before are only warned about, by status.
fn refuse_overlap(before: Option<&Memory>, memory: &Memory, survey: &Survey) -> Result<(), InitError> {
    let accepted = before.map(Memory::ranges).unwrap_or_default();
    let clashes = overlaps(memory, survey, |range| !accepted.contains(range));
    if clashes.is_empty() { Ok(()) } else { Err(InitError::Overlap(clashes)) }
}

/// A node none of whose addresses is here is most likely another one: a wrong name, or a wrong file.
fn refuse_other_machine(memory: &Memory, survey: &Survey) -> Result<(), InitError> {
    let Some(own) = memory.cluster.node(&memory.node) else { return Ok(()) };
    match own.addresses.first() {
        Some(first) if !own.addresses.iter().any(|address| survey.addresses.contains(address)) => {
            Err(InitError::NotThisMachine { node: own.name.clone(), first: *first })
        }
        _ => Ok(()),
    }
}

/// The clashes of those ranges that `concerns` chooses.
pub(crate) fn overlaps(
    memory: &Memory,
    survey: &Survey,
    concerns: impl Fn(&ipnet::IpNet) -> bool,
) -> Vec<Clash> {
    let ranges = memory.ranges();
    let mut clashes = Vec::new();
    for (at, range) in ranges.iter().enumerate().filter(|(_, range)| concerns(range)) {
        let mut others = ranges.clone();
        others.remove(at);
        clashes.extend(survey.clash(memory, *range, &others));
    }
    clashes
}
