use std::io::ErrorKind;

use crate::machine::MARKS;

use naru_core::{
    ipam::Domain,
    reconcile::{Pass, Policy},
};
use naru_netlink::links::Links;
use naru_store::{NodeStore, Start, StateStore, lock_file::set_aside};

use super::{conflist, directories, migrate, other_machine, pools, takeover};
use crate::{
    delegate,
    endpoint::{Maps, PodNotes, Tools, namespaces, reconcile},
    host::{self, forward},
    paths::Paths,
    readiness::{self, Record},
    sync::{self, Changes},
};
use crate::{
    devices::{self, ensure_forwarding, ensure_overlay, ensure_uplinks, loosen_uplinks},
    machine::{
        self, AgentPlace, MachineError, NodeFacts, Request, Settings, Survey, current, overlaps, presence,
        undo,
    },
};
use naru_bpf::{AttachMode, Installed};

/// A node as init leaves it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ready {
    /// Facts that attachments need.
    pub facts: NodeFacts,
    /// The settings.
    pub settings: Settings,
    /// The mode in which the programs are attached to the tunnel device; `None` if there is none.
    pub attach: Option<AttachMode>,
    /// The maps and programs that are new.
    pub installed: Installed,
    /// The changes of maps, routes and rules.
    pub changes: Changes,
    /// Plugins that would follow ours in the runtime's list, if they were installed.
    pub unlisted: Vec<&'static str>,
    /// Failures of the last, optional steps; the node works without them.
    pub warnings: Vec<String>,
}

impl Ready {
    /// A description of the node in a few lines.
    #[must_use]
    pub fn summary(&self) -> Vec<String> {
        let facts = &self.facts;
        let blocks: Vec<String> = facts
            .blocks
            .iter()
            .chain(facts.own.iter().flat_map(|pool| &pool.subnets))
            .map(ToString::to_string)
            .collect();
        let mut lines =
            vec![format!("node {}: blocks {}, pod mtu {}", facts.node, blocks.join(" "), facts.pod_mtu)];
        if let Some(attach) = self.attach {
            lines.push(format!(
                "tunnel: {}, {} other nodes",
                attach.label(),
                self.settings.cluster.nodes.len() - 1
            ));
        }
        let (maps, programs) = (self.installed.maps_created.len(), self.installed.programs_replaced.len());
        let changes = self.changes.made();
        lines.push(format!(
            "{maps} maps created, {programs} programs loaded, {changes} entries and routes changed"
        ));
        if !self.unlisted.is_empty() {
            let names = self.unlisted.join(", ");
            lines.push(format!(
                "not installed: {names}; pods that ask for host ports (portmap), rate limits (bandwidth) are refused"
            ));
        }
        lines
    }
}

/// Makes this machine the node that `request` and earlier inits describe. Changes nothing that is right already. A
/// single map entry or route that is refused does not hold up others: [`Changes::refused`] names it.
///
/// # Errors
/// [`MachineError`]. A request that is refused by the first checks (probe, overlap, unknown node) leaves no trace;
/// after any other error run it again.
pub fn run(paths: &Paths, request: &Request) -> Result<Ready, MachineError> {
    let links = Links::open(MARKS)?;
    check(paths, request, &links, Caller::Anybody)?;
    let mut node = open_store(paths)?;
    let _lock = machine::lock(paths)?;
    locked(paths, request, links, &mut node)
}

/// Does the same as [`run`] for the node's agent, which takes its `place` before anything is changed, and keeps it.
///
/// # Errors
/// As [`run`]; [`MachineError::AgentRuns`] where another process has the place.
pub fn run_as_agent(
    paths: &Paths,
    request: &Request,
    place: &mut Option<AgentPlace>,
) -> Result<Ready, MachineError> {
    if !place.as_ref().is_some_and(|place| place.is_held(paths)) {
        *place = AgentPlace::take_existing(paths)?;
    }
    let links = Links::open(MARKS)?;
    check(paths, request, &links, Caller::Agent)?;
    let mut node = open_store(paths)?;
    if place.is_none() {
        *place = Some(AgentPlace::take(paths)?);
    }
    let _lock = machine::lock(paths)?;
    locked(paths, request, links, &mut node)
}

/// Runs [`run`], unless the previous holder of the lock did what is needed, as `is_enough` says. The node is ready when
/// it returns.
pub(super) fn run_unless(
    paths: &Paths,
    request: &Request,
    is_enough: impl Fn(&NodeFacts) -> bool,
) -> Result<NodeFacts, MachineError> {
    let links = Links::open(MARKS)?;
    check(paths, request, &links, Caller::Anybody)?;
    let mut node = open_store(paths)?;
    let _lock = machine::lock(paths)?;
    if let Some(facts) = current(paths)?.filter(is_enough)
        && readiness::fault(paths, &facts)?.is_none()
    {
        return Ok(facts);
    }
    let facts = locked(paths, request, links, &mut node)?.facts;
    match readiness::fault(paths, &facts)? {
        None => Ok(facts),
        Some(fault) => Err(MachineError::NotAsMade(fault)),
    }
}

/// Discards maps and programs of a network namespace that no longer exists (a container that was this node was started
/// again): they know its interfaces by numbers that mean others here.
fn discard_other_namespaces(paths: &Paths) -> Result<(), MachineError> {
    let Some(facts) = NodeFacts::load(paths)? else { return Ok(()) };
    if facts.boot_id != host::boot_id()? || facts.netns.is_empty() || facts.netns == machine::netns()? {
        return Ok(());
    }
    let alive = namespaces::alive().map_err(|why| MachineError::Namespace(why.to_string()))?;
    if alive.keys().any(|id| id.to_string() == facts.netns) {
        return Err(MachineError::OtherNamespace { run: paths.run.clone() });
    }
    // Generations of nftables differ between namespaces.
    machine::remove(&paths.nft_sight())?;
    let root = paths.pins().root().to_owned();
    match std::fs::remove_dir_all(&root) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(MachineError::file(root, "remove")(error)),
        _ => Ok(()),
    }
}

/// The caller that makes this machine a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Caller {
    Agent,
    Anybody,
}

/// Refuses everything that can be refused before anything is changed.
fn check(paths: &Paths, request: &Request, links: &Links, caller: Caller) -> Result<(), MachineError> {
    machine::refuse_newer(paths)?;
    if caller == Caller::Anybody && machine::is_older(paths)? {
        // A running agent has left it at that: it is of the older version too, and would undo a migration.
        AgentPlace::refuse_other(paths)?;
    }
    // To a probe the kernel answers alike whether it cannot do something or the process may not ask for it.
    let lacking = host::lacking_capabilities();
    if !lacking.is_empty() {
        return Err(MachineError::NotPermitted(lacking));
    }
    let missing: Vec<String> = naru_bpf::probe().missing().map(str::to_owned).collect();
    if !missing.is_empty() {
        return Err(MachineError::MissingFeatures(missing));
    }
    consider(paths, request, links).map(drop)
}

/// Creates the directories, and in them the store with the journal.
fn open_store(paths: &Paths) -> Result<NodeStore, MachineError> {
    directories::make_state(paths)?;
    let mut node = NodeStore::migrate(&paths.node_store())?;
    undo::recall(paths, &mut node)?;
    directories::make(paths, &mut node)?;
    Ok(node)
}

/// Carries out the plan; the caller holds the lock.
fn locked(
    paths: &Paths,
    request: &Request,
    links: Links,
    node: &mut NodeStore,
) -> Result<Ready, MachineError> {
    // Another process may have held the lock since the check.
    let (settings, survey) = consider(paths, request, &links)?;
    discard_other_namespaces(paths)?;
    let is_asked = request.conflist.is_some();
    // New maps or a new store would not know pods that are attached meanwhile with the old ones.
    let alone = if is_whole(paths)? { None } else { Some(presence::alone(paths)?) };
    presence::make(paths)?;
    let (mut ready, links) = prepare(paths, settings, &survey, links, node)?;
    if other_machine::is_left(paths, request, &ready.settings)? {
        node.forget_identity()?;
    }
    // Traffic comes first: the steps that follow wait for the disk. They are done even if single changes were refused.
    if let Err(MachineError::DamagedSettings { path, .. }) = Settings::load(paths) {
        set_aside(&path).map_err(MachineError::file(&path, "set aside"))?;
    }
    ready.settings.save(paths)?;
    node.identity(&ready.facts.node)?;
    let is_new_boot = node.last_boot()?.as_ref() != Some(&ready.facts.boot_id);
    if is_new_boot {
        node.set_last_boot(&ready.facts.boot_id)?;
    }
    if ready.changes.unprotected.is_some() {
        ready.changes.complete()?;
    }
    // Without these exceptions a node is not ready, which every caller finds by itself; the rest is noted all the same.
    let is_open = forward::open(node);
    Record::note(paths, (&links, &paths.pins()), (&ready.settings, &survey), ready.changes.mirrored)?;
    let lists = machine::limits(&conflist::as_told(paths, node)?.cni_conf);
    ready.facts.limited = lists.into_iter().filter(|list| list.is_for_all).map(|list| list.network).collect();
    machine::write_json(&paths.node_facts(), &ready.facts)?;
    drop(alone);
    // Before the runtime calls us, since nobody else may get an address that another network's pod has.
    let refused = takeover::run(paths, &request.import, &ready.facts)?;
    finish(paths, &mut ready, node, Finish { is_new_boot, is_asked });
    ready.warnings.extend(refused);
    is_open?;
    Ok(ready)
}

/// Facts that the last steps depend on.
#[derive(Clone, Copy)]
struct Finish {
    /// The first init of this boot.
    is_new_boot: bool,
    /// The caller was told which the runtime's directories are.
    is_asked: bool,
}

/// Runs the optional steps, each by itself. The runtime's configuration is the last of them, because a runtime starts
/// pods as soon as it sees the file. `ready` names the steps that failed.
fn finish(paths: &Paths, ready: &mut Ready, node: &mut NodeStore, how: Finish) {
    let mut warnings = Vec::new();
    let mut note = |what: &str, done: Result<(), MachineError>| {
        warnings.extend(done.err().map(|error| format!("{what}: {error}")));
    };
    if how.is_new_boot {
        note("leases of the boot before are not given back", release_stale(paths, &ready.facts, node));
    }
    note("the undo journal has no copy", undo::keep(paths, node));
    let listed = conflist::ensure(paths, &ready.settings, node, how.is_asked);
    note("the runtime's configuration", listed.map(|unlisted| ready.unlisted = unlisted));
    ready.warnings = warnings;
}

/// Returns true if maps, programs and store are there, and of this boot.
fn is_whole(paths: &Paths) -> Result<bool, MachineError> {
    Ok(current(paths)?.is_some() && StateStore::check_schema(&paths.lease_store()).is_ok())
}

/// Tells other IPAM plugins that their leases ended with the boot in which they were made. Releases that they refuse
/// are tried again by the next ADD of such a network.
fn release_stale(paths: &Paths, facts: &NodeFacts, node: &mut NodeStore) -> Result<(), MachineError> {
    if node.delegated()?.is_empty() {
        return Ok(());
    }
    let _lock = delegate::lock(paths)?;
    delegate::release_those(node, |lease| lease.boot_id != facts.boot_id)?;
    Ok(())
}

/// Reads the machine's state and computes the settings; refuses impossible ones.
fn consider(paths: &Paths, request: &Request, links: &Links) -> Result<(Settings, Survey), MachineError> {
    let before = Settings::load_for(paths, request)?;
    let mut settings = Settings::merge(before.as_ref(), request)?;
    let survey = Survey::take(links, &settings)?;
    refuse_overlap(links, before.as_ref(), request, &settings)?;
    other_machine::refuse(paths, request, before.as_ref(), (&settings, &survey))?;
    settings.settle_here();
    Ok((settings, survey))
}

/// Prepares everything in the kernel, and the store of addresses.
fn prepare(
    paths: &Paths,
    mut settings: Settings,
    survey: &Survey,
    links: Links,
    node: &mut NodeStore,
) -> Result<(Ready, Links), MachineError> {
    host::ensure_bpffs(&paths.bpf, node)?;
    let pins = paths.pins();
    let installed = naru_bpf::install(&pins, settings.sizes())?;
    migrate::run(&links, &pins, &settings, survey)?;
    ensure_forwarding(&links, &settings, node)?;
    let attach = ensure_overlay(&links, &pins, &settings, survey)?;
    // The tunnel device may be new.
    ensure_forwarding(&links, &settings, node)?;
    loosen_uplinks(&settings, survey, node)?;
    ensure_uplinks(&pins, &settings, survey, NodeFacts::load(paths)?.as_ref())?;
    let mut facts = devices::facts(&links, &pins, &settings, survey)?;
    let (mut state, start) = StateStore::create(&paths.lease_store(), &facts.boot_id, host::now())?;
    // naru-ipam may have made the store, and adopts no pods.
    let is_known = start == Start::Kept && state.ranges()?.iter().any(|range| range.domain == Domain::naru());
    pools::ensure(&settings, &mut state, node)?;
    // A new store does not know yet who lives in them.
    if is_known || start == Start::Rebooted {
        pools::forget_drained(&mut settings, &state)?;
        facts.pools = settings.pool_facts();
    }
    let links = match is_known && installed == Installed::default() {
        true => links,
        false => restore_pods(paths, &facts, links, state)?,
    };
    naru_bpf::discard_other_versions(&pins)?;
    let changes = sync::apply(&links, &pins, &settings, survey)?;
    let (unlisted, warnings) = (Vec::new(), Vec::new());
    Ok((Ready { facts, settings, attach, installed, changes, unlisted, warnings }, links))
}

/// Writes the pods that live in the kernel into a new store and new maps, and gives them new programs.
fn restore_pods(
    paths: &Paths,
    facts: &NodeFacts,
    links: Links,
    mut store: StateStore,
) -> Result<Links, MachineError> {
    reconcile::adopt(&mut store, &links, &PodNotes::of(paths), host::now())?;
    let mut tools = Tools { links, store, maps: Maps::open(paths.pins())? };
    reconcile::pass(&mut tools, facts, Policy::default(), &Pass::default(), host::now())?;
    Ok(tools.links)
}

/// Refuses new ranges that somebody else uses; status only warns about those that were accepted before.
fn refuse_overlap(
    links: &Links,
    before: Option<&Settings>,
    request: &Request,
    settings: &Settings,
) -> Result<(), MachineError> {
    let accepted = before.map(Settings::ranges).unwrap_or_default();
    // The network whose place this one takes has addresses, links and routes of the same ranges.
    let allow_overlap = settings.allow_overlap || !request.import.is_empty();
    let settings = Settings { allow_overlap, ..settings.clone() };
    let clashes = overlaps(links, &settings, |range| !accepted.contains(range))?;
    if clashes.is_empty() { Ok(()) } else { Err(MachineError::Overlap(clashes)) }
}
