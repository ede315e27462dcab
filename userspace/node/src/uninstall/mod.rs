//! The exact inverse of init: it removes what init made, and restores what init changed.

mod traces;
mod unnoted;

use crate::machine;
use crate::machine::MARKS;
use std::path::PathBuf;

use naru_netlink::links::{HostVeth, Links};
use naru_store::NodeStore;

use crate::{
    delegate,
    host::{self, firewall},
    init::{self, DIRECTORY, Withdrawn},
    machine::{AgentPlace, DEVICE, MachineError, NodeFacts, Settings, undo},
    paths::Paths,
};
use naru_bpf::{Pins, Side};

/// The results of an uninstall.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Removed {
    /// True if there was anything of a node.
    pub was_initialised: bool,
    /// Pods that were detached, by their owners' names.
    pub pods: Vec<String>,
    /// Settings of the machine that are as they were before init.
    pub restored: Vec<String>,
    /// Leases that other IPAM plugins did not take back, with why; only with `force`.
    pub lost: Vec<String>,
    /// Settings of the machine that stay as they are, because the notes of what they were are gone.
    pub stays: Vec<String>,
    /// Network configurations of the runtime that stay and name our plugin: it goes on calling it, and every pod
    /// fails.
    pub kept: Vec<PathBuf>,
}

/// The wishes of whoever uninstalls.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wishes {
    /// Detach running pods in place of refusing.
    pub force: bool,
    /// Remove the network configuration that init wrote, though somebody changed it since.
    pub remove_conflist: bool,
}

/// Restores the machine as it was before init. Continues after every refusal; a second run does the rest. Where the
/// notes are lost, naru's objects are known by their names, marks and places.
///
/// # Errors
/// [`MachineError::Newer`], [`MachineError::PodsAttached`] and [`MachineError::NoNotes`] without `force` and
/// [`MachineError::AgentRuns`], nothing is changed then; [`MachineError::Refused`] with all that could not be taken
/// back.
pub fn uninstall(paths: &Paths, wishes: Wishes) -> Result<Removed, MachineError> {
    machine::refuse_newer(paths)?;
    let force = wishes.force;
    let links = Links::open(MARKS)?;
    let has_notes = paths.node_store().exists();
    if !has_notes {
        let found = unnoted::found(paths, &links)?;
        if found.is_empty() {
            let was_initialised = traces::remove_remnants(paths)?;
            withdraw(paths, wishes, Withdrawn::Kept)?;
            let kept = traces::calling_us(&paths.cni_conf);
            return Ok(Removed { was_initialised, kept, ..Removed::default() });
        }
        if !force {
            return Err(MachineError::NoNotes { store: paths.node_store(), found });
        }
    }
    refuse_pods(&links, force)?;
    let locks = match paths.run.exists() {
        true => Some((AgentPlace::take(paths)?, machine::lock(paths)?, machine::presence::alone(paths)?)),
        false => None,
    };
    // One may have come while this waited.
    let pods = refuse_pods(&links, force)?;
    let mut work = Work { paths, links, refused: Vec::new() };
    let mut store = NodeStore::migrate(&paths.node_store())?;
    undo::recall(paths, &mut store)?;
    let is_lost = store.journal("")?.is_empty() && (!has_notes || store.replaced().is_some());
    let lost = work.leases(&mut store, force)?;
    let told = init::as_told(paths, &store)?;
    // A configuration that cannot be read says nothing about the list.
    let settings = Settings::load(paths).ok().flatten();
    let result = init::remove_conflist(paths, settings.as_ref(), &mut store)
        .and_then(|found| withdraw(&told, wishes, found));
    work.note(result);
    work.kernel(&pods);
    init::recall_directories(paths, &mut store)?;
    let directories = directories(&store)?;
    let restored = work.restore(&mut store)?;
    let stays = if is_lost { work.unnoted() } else { Vec::new() };
    drop(store);
    if !work.refused.is_empty() {
        return Err(MachineError::Refused(work.refused));
    }
    traces::remove(&told, &directories)?;
    if is_lost {
        traces::remove_empty(paths)?;
    }
    drop(locks);
    let pods = pods.iter().map(owner).collect();
    let kept = traces::calling_us(&told.cni_conf);
    Ok(Removed { was_initialised: true, pods, restored, lost, stays, kept })
}

/// Removes the network configuration under our name that somebody changed, if the caller wishes so.
fn withdraw(paths: &Paths, wishes: Wishes, found: Withdrawn) -> Result<(), MachineError> {
    if wishes.remove_conflist && found == Withdrawn::Kept {
        host::remove_file(&paths.conflist())?;
    }
    Ok(())
}

/// Returns the attached pods; refuses if there are any and `force` is not set.
fn refuse_pods(links: &Links, force: bool) -> Result<Vec<HostVeth>, MachineError> {
    let pods = links.host_veths()?;
    match pods.first().filter(|_| !force) {
        Some(first) => Err(MachineError::PodsAttached { count: pods.len(), first: owner(first) }),
        None => Ok(pods),
    }
}

/// The owner of the veth, from its alias.
fn owner(veth: &HostVeth) -> String {
    veth.alias.strip_prefix(MARKS.alias_prefix).unwrap_or(&veth.name).to_owned()
}

/// The directories that init made, newest first.
fn directories(store: &NodeStore) -> Result<Vec<PathBuf>, MachineError> {
    let entries = store.journal(DIRECTORY)?;
    Ok(entries.into_iter().filter_map(|(key, _)| Some(key.split_once(' ')?.1.into())).collect())
}

struct Work<'a> {
    paths: &'a Paths,
    links: Links,
    refused: Vec<String>,
}

impl Work<'_> {
    /// Gives the leases of other IPAM plugins back while the interfaces exist: DHCP releases its leases over them. With
    /// `force`, leases that cannot be given back are given up and returned.
    fn leases(&mut self, store: &mut NodeStore, force: bool) -> Result<Vec<String>, MachineError> {
        let noted = store.delegated()?;
        if !self.paths.run.exists() || noted.is_empty() {
            return Ok(Vec::new());
        }
        let plugin_of =
            |id: &_| noted.iter().find(|lease| lease.id == *id).map_or("", |lease| lease.plugin.as_str());
        let _lock = delegate::lock(self.paths)?;
        let failed = delegate::release_those(store, |_| true)?;
        let told = failed.into_iter().map(|(id, why)| format!("{id}: lease of {}: {why}", plugin_of(&id)));
        if force {
            return Ok(told.collect());
        }
        self.refused.extend(told);
        Ok(Vec::new())
    }

    /// Removes every object of ours in the kernel, in an order in which no packet meets half of a node.
    fn kernel(&mut self, pods: &[HostVeth]) {
        let pins = self.paths.pins();
        for pod in pods {
            let result = self.links.delete_host_veth(&pod.name);
            self.note(result);
        }
        let result = self.uplinks(&pins);
        self.note(result);
        let result = self.overlay(&pins);
        self.note(result);
        let result = self.routes();
        self.note(result);
        let result = firewall::delete();
        self.note(result);
        let result = traces::unpin(self.paths);
        self.note(result);
    }

    fn overlay(&self, pins: &Pins) -> Result<(), MachineError> {
        let Some(link) = self.links.link(DEVICE)? else { return Ok(()) };
        naru_bpf::detach(pins, Side::Overlay, &link.name)?;
        self.links.delete_overlay(&link.name)?;
        Ok(())
    }

    /// Undoes what the lost journal would have named, as far as that is known without it. Returns what stays.
    fn unnoted(&mut self) -> Vec<String> {
        let result = unnoted::undo(self.paths);
        self.note(result);
        unnoted::settings()
    }

    /// Detaches the programs of uplinks: those of the list that init left, and all others that are pinned.
    fn uplinks(&self, pins: &Pins) -> Result<(), MachineError> {
        let facts = NodeFacts::load(self.paths)?;
        for name in facts.iter().flat_map(|facts| &facts.uplinks) {
            naru_bpf::detach(pins, Side::Underlay, name)?;
        }
        Ok(naru_bpf::detach_others(pins, Side::Underlay, &[])?)
    }

    fn routes(&self) -> Result<(), MachineError> {
        for rule in self.links.rules()?.own {
            self.links.delete_rule(rule)?;
        }
        Ok(self.links.delete_routes(&self.links.routes()?)?)
    }

    /// Undoes the changes that the journal names, the newest first.
    fn restore(&mut self, store: &mut NodeStore) -> Result<Vec<String>, MachineError> {
        let mut restored = Vec::new();
        for (key, former) in store.journal("")? {
            if key.split_once(' ').is_some_and(|(kind, _)| kind == DIRECTORY) {
                continue;
            }
            match host::undo(&key, &former) {
                Ok(()) => {
                    store.journal_take(&key)?;
                    restored.push(key);
                }
                Err(error) => self.refused.push(error.to_string()),
            }
        }
        Ok(restored)
    }

    fn note<T, E: std::fmt::Display>(&mut self, result: Result<T, E>) {
        self.refused.extend(result.err().map(|error| error.to_string()));
    }
}
