use std::{collections::BTreeSet, time::Instant};

use ipnet::IpNet;
use naru_bpf::Pins;
use naru_cluster::View;
use naru_core::reconcile::{Action, Pass, Policy};
use naru_netlink::links::Links;
use naru_node::{
    endpoint::{Maps, Reattached, Tools, reconcile, restore_programs},
    host, init,
    machine::{self, AgentPlace, MARKS, MachineError, NodeFacts, Request, Settings},
    paths::Paths,
    readiness, symmetry, sync,
};
use naru_store::StateStore;

use crate::{
    interest::Interest,
    said::Said,
    schedule::{JobOutcome, Kind},
    worker::{Job, Report},
};

/// Limit of idle flows about which a pass asks connection tracking, some 3 us each.
const SWEEP: usize = 65_536;

/// Makes the node match the cluster, one job after the other, each of which may block.
pub struct Mirror {
    paths: Paths,
    request: Request,
    /// Failures that last, for the log.
    said: Said<Topic>,
    remembered: Pass,
    /// Interfaces whose filters somebody changed since the last check that found nothing wrong.
    filters: BTreeSet<u32>,
    /// Subjects of warnings that have been logged already.
    warned: BTreeSet<String>,
    /// The fault that the last check found and the kernel does not announce: it is repaired once, and after that
    /// reported by the larger passes.
    undone: Option<String>,
    /// The agent's place, held from before the first change: one agent a node, and no uninstall meanwhile.
    place: Option<AgentPlace>,
}

/// The check that found a failure.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Topic {
    /// A job of this kind.
    Job(Kind),
    /// The check of pods in a pass over everything.
    Pods,
}

/// The result of a part of a job that ran to its end.
#[derive(Default)]
struct End {
    /// Only a pass over everything helps.
    is_too_small: bool,
    /// Single changes that were refused.
    refused: Vec<String>,
}

impl End {
    const TOO_SMALL: Self = Self { is_too_small: true, refused: Vec::new() };
}

impl Mirror {
    /// A mirror on the node of `paths`; `request` is what the command line asks of init.
    #[must_use]
    pub fn new(paths: Paths, request: Request) -> Self {
        Self {
            paths,
            request,
            said: Said::default(),
            remembered: Pass::default(),
            filters: BTreeSet::new(),
            warned: BTreeSet::new(),
            undone: None,
            place: None,
        }
    }

    /// Takes the agent's place if an agent has run here before; otherwise the first pass takes it.
    ///
    /// # Errors
    /// [`MachineError::AgentRuns`] where another process has it.
    pub fn claim(&mut self) -> Result<(), MachineError> {
        self.place = AgentPlace::take_existing(&self.paths)?;
        Ok(())
    }

    /// The directory of the datapath's pins.
    pub fn pins(&self) -> Pins {
        self.paths.pins()
    }

    /// The node's directories.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Does one job. Faults are logged by the time this returns, each once for as long as it lasts.
    pub(crate) fn work(&mut self, job: &Job) -> Report {
        let started = Instant::now();
        let ends = match job.kind {
            Kind::Programs => self.programs(&job.filters),
            Kind::Firewall => vec![self.firewall()],
            Kind::Routes => vec![self.routes()],
            Kind::Cluster => vec![self.cluster(&job.view)],
            // Pods are served in any case: the reason for which init fails may concern none of them.
            Kind::Everything => vec![self.init(&job.view), self.pods()],
        };
        let outcome = self.conclude(job.kind, ends);
        if job.kind != Kind::Programs {
            let word = outcome.as_ref().map_or("refused", |outcome| outcome.label());
            let (kind, took) = (job.kind.label(), started.elapsed().as_millis());
            tracing::debug!("pass over {kind}: {word} after {took} ms");
        }
        let may_differ = matches!(job.kind, Kind::Cluster | Kind::Everything);
        let settings = if may_differ { Settings::load(&self.paths).ok().flatten() } else { None };
        let serves = settings.as_ref().map(Settings::has_addresses);
        Report { outcome, interest: settings.as_ref().map(Interest::of), serves }
    }

    /// Returns the worst of the results, and logs all of their complaints.
    fn conclude(
        &mut self,
        kind: Kind,
        ends: Vec<Result<End, MachineError>>,
    ) -> Result<JobOutcome, MachineError> {
        let (mut outcome, mut complaints) = (JobOutcome::Done, BTreeSet::new());
        for end in ends {
            match end {
                Ok(End { is_too_small: true, .. }) => outcome = JobOutcome::TooSmall,
                Ok(End { refused, .. }) => {
                    if !refused.is_empty() && outcome == JobOutcome::Done {
                        outcome = JobOutcome::Partly;
                    }
                    complaints.extend(refused);
                }
                Err(error @ (MachineError::AgentRuns { .. } | MachineError::LockedByOther { .. })) => {
                    return Err(error);
                }
                Err(error) => {
                    outcome = if outcome == JobOutcome::TooSmall { outcome } else { JobOutcome::Failed };
                    complaints.insert(error.to_string());
                }
            }
        }
        self.said.log(Topic::Job(kind), complaints);
        if outcome == JobOutcome::Done {
            for covered in kind.covered() {
                self.said.log(Topic::Job(*covered), BTreeSet::new());
            }
        }
        Ok(outcome)
    }

    /// Repairs the firewall: our table, and our exceptions in others' chains.
    fn firewall(&mut self) -> Result<End, MachineError> {
        Ok(sync::refresh_firewall(&self.paths)?.map_or(End::TOO_SMALL, applied))
    }

    /// Repairs the programs on the tunnel device and the uplinks, on pods by tcx, and on the interfaces whose `filters`
    /// somebody changed since all were right.
    fn programs(&mut self, filters: &BTreeSet<u32>) -> Vec<Result<End, MachineError>> {
        self.filters.extend(filters);
        let unannounced = self.unannounced();
        let programs = [sync::reattach(&self.paths), self.restore()];
        let mut ends: Vec<_> = programs.into_iter().map(|end| end.map(attached)).collect();
        if ends.iter().all(|end| end.as_ref().is_ok_and(|end| end.refused.is_empty())) {
            self.filters.clear();
        }
        ends.push(unannounced);
        ends
    }

    /// Looks for faults that the kernel does not announce: in pins, the programs' configuration, the tunnel device's
    /// neighbours. A pass over routes repairs most of them; otherwise one over everything does.
    fn unannounced(&mut self) -> Result<End, MachineError> {
        let fault = self.unannounced_fault()?;
        if fault == self.undone {
            return Ok(End::default());
        }
        self.undone.clone_from(&fault);
        let Some(fault) = fault else { return Ok(End::default()) };
        tracing::info!("{fault}: repaired");
        let end = self.routes()?;
        self.undone = self.unannounced_fault()?;
        Ok(if self.undone.is_some() { End::TOO_SMALL } else { end })
    }

    fn unannounced_fault(&self) -> Result<Option<String>, MachineError> {
        match machine::current(&self.paths)? {
            Some(facts) => readiness::unannounced_fault(&self.paths, &facts),
            // Before the first init there is nothing that could be missing.
            None => Ok(self
                .place
                .as_ref()
                .map(|_| format!("{}: what init made is gone", self.paths.run.display()))),
        }
    }

    fn restore(&self) -> Result<Reattached, MachineError> {
        let Some(facts) = machine::current(&self.paths)? else { return Ok(Reattached::default()) };
        restore_programs(&self.pins(), &self.filters, || tools(&self.paths, &facts))
    }

    /// Repairs routes, rules and map entries; if what they rely on is missing, init makes all of it.
    fn routes(&self) -> Result<End, MachineError> {
        Ok(sync::refresh(&self.paths)?.map_or(End::TOO_SMALL, applied))
    }

    /// A new cluster, if the source says one.
    fn cluster(&mut self, view: &View) -> Result<End, MachineError> {
        let Some(cluster) = view.cluster.as_deref() else { return Ok(End::default()) };
        let services = self.services(view);
        let known = Settings::load(&self.paths)?;
        let is_known = |known: &Settings| {
            known.cluster == *cluster && (services.is_empty() || known.services == services)
        };
        if known.as_ref().is_some_and(is_known) {
            return Ok(End::default());
        }
        match init::follow(&self.paths, cluster.clone(), services)? {
            Some(changes) => Ok(applied(changes)),
            None => self.init(view),
        }
    }

    /// Returns the ranges of Services: those that init was told, else those that the source knows.
    fn services(&self, view: &View) -> Vec<IpNet> {
        match self.request.services.is_empty() {
            true => view.services.clone().unwrap_or_default(),
            false => self.request.services.clone(),
        }
    }

    /// Everything that init makes.
    fn init(&mut self, view: &View) -> Result<End, MachineError> {
        let cluster = view.cluster.as_deref().cloned();
        let request = Request { cluster, services: self.services(view), ..self.request.clone() };
        let ready = match init::run_as_agent(&self.paths, &request, &mut self.place) {
            // The source has not answered yet, and its first answer defines this node.
            Err(MachineError::NotConfigured) if !view.is_answered() => return Ok(End::default()),
            ready => ready?,
        };
        // Applied once: later the network's configuration counts.
        self.request.standalone = None;
        if !ready.installed.maps_created.is_empty() || !ready.changes.is_empty() {
            for line in ready.summary() {
                tracing::info!("{line}");
            }
        }
        for finding in naru_view::lost_identities(&self.paths) {
            if self.warned.insert(finding.subject.clone()) {
                tracing::warn!("{finding}; {}", finding.remedy);
            }
        }
        let mut end = applied(ready.changes);
        end.refused.extend(ready.warnings);
        Ok(end)
    }

    /// Pods against store, maps and routes.
    fn pods(&mut self) -> Result<End, MachineError> {
        let Some(facts) = machine::current(&self.paths)? else { return Ok(End::default()) };
        let mut tools = tools(&self.paths, &facts)?;
        let now = host::now();
        let (report, next) = reconcile::pass(&mut tools, &facts, Policy::default(), &self.remembered, now)?;
        self.remembered = next;
        for action in report.done.iter().filter(|action| !matches!(action, Action::Quarantine { .. })) {
            tracing::info!("repaired: {action}");
        }
        for interface in &report.filters {
            tracing::info!("{interface}: programs attached again");
        }
        let mut complaints: BTreeSet<String> = report
            .duplicates
            .iter()
            .map(|found| {
                let address = found.address.map(|address| address.to_string()).unwrap_or_default();
                format!("{address}: {}: nobody else gets it while they live", found.what)
            })
            .collect();
        complaints.extend(report.failed.iter().map(|(action, cause)| format!("{action}: {cause}")));
        complaints.extend(report.bare.iter().map(ToString::to_string));
        complaints.extend(report.uncooled.map(|error| format!("addresses stay in cooling: {error}")));
        complaints
            .extend(report.flows.map(|cause| format!("flows of addresses that were given up: {cause}")));
        let records = &mut tools.maps.records;
        let swept = symmetry::sweep(&mut records.flows, SWEEP);
        match swept.and_then(|gone| Ok(gone + symmetry::sweep_pairs(&mut records.pairs)?)) {
            Ok(0) => {}
            Ok(gone) => tracing::debug!(gone, "flows that ended are forgotten"),
            Err(error) => drop(complaints.insert(format!("flows that ended stay: {error}"))),
        }
        // Only in the periodic pass, as the reconciler has time.
        self.said.log(Topic::Pods, complaints);
        Ok(End::default())
    }
}

fn tools(paths: &Paths, facts: &NodeFacts) -> Result<Tools, MachineError> {
    Ok(Tools {
        links: Links::open(MARKS)?,
        store: StateStore::open(&paths.lease_store(), &facts.boot_id)?,
        maps: Maps::open(paths.pins())?,
    })
}

/// Logs what a sync changed.
fn applied(changes: sync::Changes) -> End {
    for command in &changes.commands {
        tracing::debug!("{command:?}");
    }
    if changes.made() > 0 {
        tracing::info!(changes = changes.made(), "maps, routes and rules follow the cluster");
    }
    if changes.firewall {
        tracing::info!("the nftables table was made anew");
    }
    End { is_too_small: false, refused: changes.complaints() }
}

/// Logs the interfaces whose programs were attached again.
fn attached(found: Reattached) -> End {
    for interface in &found.interfaces {
        tracing::info!("{interface}: programs attached again");
    }
    End { is_too_small: false, refused: found.refused }
}
