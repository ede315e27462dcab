use std::{collections::BTreeSet, net::IpAddr, path::Path};

use naru_bpf::Pins;
use naru_cluster::Source;
use naru_core::{
    cluster::ClusterSpec,
    reconcile::{Action, Finding, Pass, Policy},
};
use naru_netlink::links::Links;
use naru_node::{
    endpoint::{Maps, Tools, reconcile, restore_programs},
    health, host, init,
    machine::{self, AgentPlace, MARKS, MachineError, NodeFacts, Request, Settings},
    paths::Paths,
    readiness, symmetry, sync,
};
use naru_store::StateStore;

use crate::changes::Wake;

/// Idle flows that a pass asks connection tracking about, some 3 us each.
const SWEEP: usize = 65_536;

/// Keeps the node like the cluster. Whatever fails is logged; a pass says so, to be repeated.
pub struct Mirror {
    paths: Paths,
    request: Request,
    source: Box<dyn Source>,
    /// What was said of the source last, so that it is not said again every pass.
    complaint: Option<String>,
    /// What was said last of programs that could not be attached again.
    detached: Vec<String>,
    remembered: Pass,
    /// Addresses with more than one live holder, at the last pass.
    shared: BTreeSet<Option<IpAddr>>,
    /// Warnings that are in the log already.
    warned: BTreeSet<String>,
    /// What the last glance found undone: it is made again once, and then told by the larger passes.
    undone: Option<String>,
    /// Held from before the first change on: one agent a node, and no uninstall meanwhile.
    place: Option<AgentPlace>,
}

impl Mirror {
    /// A mirror of `source`; `request` is what the command line asks of init.
    pub fn new(paths: Paths, request: Request, source: Box<dyn Source>) -> Self {
        Self {
            paths,
            request,
            source,
            complaint: None,
            detached: Vec::new(),
            remembered: Pass::default(),
            shared: BTreeSet::new(),
            warned: BTreeSet::new(),
            undone: None,
            place: None,
        }
    }

    /// What is followed, for the log.
    pub fn describe(&self) -> String {
        self.source.describe()
    }

    /// The file to watch.
    pub fn file(&self) -> Option<&Path> {
        self.source.file()
    }

    /// Where the datapath is pinned.
    pub fn pins(&self) -> Pins {
        self.paths.pins()
    }

    /// Takes the agent's place, where an agent has run before; else the first pass does.
    ///
    /// # Errors
    /// [`MachineError::AgentRuns`] where another process has it.
    pub fn claim(&mut self) -> Result<(), MachineError> {
        self.place = AgentPlace::take_existing(&self.paths)?;
        Ok(())
    }

    /// One pass, as large as `wake` asks; whether all of it could be done.
    ///
    /// # Errors
    /// [`MachineError::AgentRuns`] where another process has taken the agent's place: this one has nothing to do here.
    pub fn pass(&mut self, wake: Wake) -> Result<bool, MachineError> {
        let result = match wake {
            Wake::Routes => self.routes(),
            Wake::Cluster => self.cluster(),
            Wake::Everything => self.everything(),
        };
        match result {
            Err(error @ MachineError::AgentRuns { .. }) => return Err(error),
            Err(error) => tracing::error!("{error}"),
            Ok(()) => return Ok(true),
        }
        Ok(false)
    }

    /// The firewall, ours and the exceptions in others'.
    pub fn firewall(&mut self) {
        match sync::refresh_firewall(&self.paths) {
            Ok(Some(changes)) => report(&changes),
            // For init, which the next larger pass calls.
            Ok(None) => {}
            Err(error) => tracing::error!("{error}"),
        }
    }

    /// The programs on the tunnel device, the uplinks and pods by tcx, and on the interfaces whose `filters` somebody changed;
    /// whether all are as they should be now.
    pub fn glance(&mut self, filters: &BTreeSet<u32>) -> bool {
        if let Err(error) = self.unannounced() {
            tracing::error!("{error}");
        }
        let devices = sync::reattach(&self.paths);
        let pods = self.restore(filters);
        let mut complaints = Vec::new();
        for result in [devices, pods] {
            for interface in result.iter().flatten() {
                tracing::info!("{interface}: programs attached again");
            }
            complaints.extend(result.err().map(|error| error.to_string()));
        }
        // Said once, not with every look.
        for complaint in complaints.iter().filter(|text| !self.detached.contains(text)) {
            tracing::error!("{complaint}");
        }
        self.detached = complaints;
        self.detached.is_empty()
    }

    /// Makes again what somebody undid without the kernel's telling anybody: pins, the programs' configuration, the tunnel
    /// device's neighbours. Programs are [`sync::reattach`]'s. What cannot be made waits for the next larger pass.
    fn unannounced(&mut self) -> Result<(), MachineError> {
        let fault = match machine::current(&self.paths)? {
            Some(facts) => readiness::unannounced_fault(&self.paths, &facts)?,
            // Before the first init there is nothing to miss.
            None => {
                self.place.as_ref().map(|_| format!("{}: what init made is gone", self.paths.run.display()))
            }
        };
        if fault == self.undone {
            return Ok(());
        }
        self.undone.clone_from(&fault);
        let Some(fault) = fault else { return Ok(()) };
        tracing::info!("{fault}: made again");
        self.everything()
    }

    fn restore(&self, filters: &BTreeSet<u32>) -> Result<Vec<String>, MachineError> {
        let Some(facts) = machine::current(&self.paths)? else { return Ok(Vec::new()) };
        restore_programs(&self.pins(), filters, || tools(&self.paths, &facts))
    }

    /// Routes, rules, map entries; all that init makes if they hang in the air.
    fn routes(&mut self) -> Result<(), MachineError> {
        match sync::refresh(&self.paths)? {
            Some(changes) => {
                report(&changes);
                Ok(())
            }
            None => self.everything(),
        }
    }

    /// A new cluster, if the source says one.
    fn cluster(&mut self) -> Result<(), MachineError> {
        let known = Settings::load(&self.paths)?.map(|memory| memory.cluster);
        match self.load() {
            Some(cluster) if known.as_ref() != Some(&cluster) => {
                match init::follow(&self.paths, cluster.clone())? {
                    Some(changes) => {
                        report(&changes);
                        Ok(())
                    }
                    None => self.init(Some(cluster)),
                }
            }
            _ => Ok(()),
        }
    }

    /// Everything that init makes, then the pods.
    fn everything(&mut self) -> Result<(), MachineError> {
        let cluster = self.load();
        self.init(cluster)?;
        self.pods()
    }

    fn init(&mut self, cluster: Option<ClusterSpec>) -> Result<(), MachineError> {
        let request = Request { cluster, ..self.request.clone() };
        let ready = init::run_as_agent(&self.paths, &request, &mut self.place)?;
        // Asked for once: what its network's configuration says of it later counts.
        self.request.standalone = None;
        if !ready.installed.maps_created.is_empty() || !ready.changes.is_empty() {
            for line in ready.summary() {
                tracing::info!("{line}");
            }
        }
        report(&ready.changes);
        for warning in health::lost_journals(&self.paths) {
            if self.warned.insert(warning.clone()) {
                tracing::warn!("{warning}");
            }
        }
        Ok(())
    }

    /// The cluster as the source has it; `None` when it has none or an invalid one, then the last good one stays.
    fn load(&mut self) -> Option<ClusterSpec> {
        let loaded = self.source.load();
        let complaint = loaded.as_ref().err().map(|error| format!("{error}: the last good cluster stays"));
        if let Some(text) = complaint.as_ref().filter(|text| self.complaint.as_ref() != Some(*text)) {
            tracing::error!("{text}");
        }
        self.complaint = complaint;
        loaded.ok()
    }

    /// Pods against store, maps and routes.
    fn pods(&mut self) -> Result<(), MachineError> {
        let Some(facts) = machine::current(&self.paths)? else { return Ok(()) };
        let mut tools = tools(&self.paths, &facts)?;
        let now = host::now();
        let (report, next) = reconcile::pass(&mut tools, &facts, Policy::default(), &self.remembered, now)?;
        self.remembered = next;
        self.tell_duplicates(&report.duplicates);
        for action in report.done.iter().filter(|action| !matches!(action, Action::Quarantine { .. })) {
            tracing::info!("put right: {action:?}");
        }
        for (action, cause) in &report.failed {
            tracing::error!("{action:?}: {cause}");
        }
        for interface in &report.filters {
            tracing::info!("{interface}: programs attached again");
        }
        if let Some(error) = &report.uncooled {
            tracing::error!("addresses stay in cooling: {error}");
        }
        if let Some(cause) = &report.flows {
            tracing::error!("flows of addresses that were given up: {cause}");
        }
        match symmetry::sweep(&mut tools.maps.flows, SWEEP) {
            Ok(0) => {}
            Ok(gone) => tracing::debug!(gone, "flows that ended are forgotten"),
            Err(error) => tracing::error!("flows that ended stay: {error}"),
        }
        Ok(())
    }

    /// Says which addresses have more than one live holder, each once as long as that lasts.
    fn tell_duplicates(&mut self, found: &[Finding]) {
        for finding in found.iter().filter(|finding| !self.shared.contains(&finding.address)) {
            let address = finding.address.map(|address| address.to_string()).unwrap_or_default();
            tracing::error!("{address}: {}: nobody else gets it while they live", finding.what);
        }
        self.shared = found.iter().map(|finding| finding.address).collect();
    }
}

fn tools(paths: &Paths, facts: &NodeFacts) -> Result<Tools, MachineError> {
    Ok(Tools {
        links: Links::open(MARKS)?,
        store: StateStore::open(&paths.lease_store(), &facts.boot_id)?,
        maps: Maps::open(paths.pins())?,
    })
}

fn report(changes: &sync::Changes) {
    for command in &changes.commands {
        tracing::debug!("{command:?}");
    }
    if !changes.commands.is_empty() {
        tracing::info!(changes = changes.commands.len(), "maps, routes and rules follow the cluster");
    }
    if changes.firewall {
        tracing::info!("the nftables table was made anew");
    }
}
