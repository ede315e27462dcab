//! The schedule of the agent's work. Each kind of work has its own pauses, so that one that keeps failing does not
//! delay the others; a larger kind covers the smaller ones. This file has no IO and no clock.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;

/// Time for which changes are gathered before a pass: one act of an administrator is several changes.
pub const SETTLE: Duration = Duration::from_millis(100);

/// Period of the check whether the programs are still attached: the kernel announces nothing when a tcx link goes.
/// Others' changes of filters wait for it too, so that many such changes cost one check.
const LOOK: Duration = Duration::from_millis(500);

/// The pause before failed work is repeated; it doubles with each failure in a row, up to the periodic pass.
const RETRY: Duration = Duration::from_secs(1);

/// Ratio of the rest after a piece of work to its duration, whatever changes meanwhile: others may change rules without
/// end, and a long rule set takes long to read.
const REST: u32 = 10;

/// Limit of this rest, except for the firewall, as objects of ours that are removed must be back soon.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// Least time between two passes of a kind in which single changes are refused.
const SPACING: Duration = Duration::from_millis(500);

/// The kinds of work; a later one covers more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// A look whether the programs are attached.
    Programs,
    /// The nftables table and the exceptions in others' chains.
    Firewall,
    /// Routes, rules, addresses, map entries.
    Routes,
    /// A new cluster.
    Cluster,
    /// Everything that init makes, and the pods.
    Everything,
}

/// All kinds, in their order.
const KINDS: [Kind; 5] = [Kind::Programs, Kind::Firewall, Kind::Routes, Kind::Cluster, Kind::Everything];

impl Kind {
    /// The kinds that need not be done beside this one.
    pub const fn covered(self) -> &'static [Self] {
        match self {
            Self::Everything => &[Self::Firewall, Self::Routes, Self::Cluster],
            _ => &[],
        }
    }

    /// The name in the log.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Programs => "programs",
            Self::Firewall => "firewall",
            Self::Routes => "routes",
            Self::Cluster => "cluster",
            Self::Everything => "everything",
        }
    }
}

/// The end of a piece of work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JobOutcome {
    /// All of it is done.
    Done,
    /// Single changes were refused; all others are made.
    Partly,
    /// The work broke off.
    Failed,
    /// Only a pass over everything helps.
    TooSmall,
}

impl JobOutcome {
    /// The word in the log.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Partly => "partly done",
            Self::Failed => "failed",
            Self::TooSmall => "too small",
        }
    }
}

/// One kind of work.
#[derive(Clone, Copy, Debug)]
struct Task {
    /// The time at which it is due.
    due: Option<Instant>,
    /// No event brings it forward beyond this.
    earliest: Instant,
    /// The pause after the next failure.
    pause: Duration,
}

/// The work under way.
#[derive(Debug)]
struct Running {
    kind: Kind,
    since: Instant,
    /// Wishes that were there before and are fulfilled if it succeeds.
    covers: Vec<Kind>,
    /// Wishes that came meanwhile. If the job fails, they may be its own echo.
    meanwhile: BTreeSet<Kind>,
}

/// The agenda of one agent, whose worker does one job at a time.
#[derive(Debug)]
pub struct Schedule {
    period: Duration,
    tasks: [Task; KINDS.len()],
    running: Option<Running>,
}

impl Schedule {
    /// An agenda with a pass over everything each `period`. The first is due with the first wish.
    pub fn new(period: Duration, now: Instant) -> Self {
        let task = |kind| Task { due: None, earliest: now, pause: RETRY.min(longest(kind, period)) };
        let mut schedule = Self { period, tasks: KINDS.map(task), running: None };
        schedule.task(Kind::Programs).due = Some(now + LOOK);
        schedule
    }

    /// Notes that something changed that this kind of work looks at.
    pub fn wish(&mut self, kind: Kind, now: Instant) {
        match &mut self.running {
            Some(running) => drop(running.meanwhile.insert(kind)),
            None => self.plan(kind, now + SETTLE),
        }
    }

    /// Notes that this kind of work has new input, so that an earlier failure does not count.
    pub fn renew(&mut self, kind: Kind, now: Instant) {
        let task = self.task(kind);
        task.earliest = now;
        task.due = Some(now);
    }

    /// The work to begin now, if there is any and none is being done.
    pub fn begin(&mut self, now: Instant) -> Option<Kind> {
        if self.running.is_some() {
            return None;
        }
        let is_due = |kind: &&Kind| self.tasks[**kind as usize].due.is_some_and(|due| due <= now);
        let kind = *KINDS.iter().rev().find(is_due)?;
        self.task(kind).due = None;
        let covers: Vec<Kind> = kind
            .covered()
            .iter()
            .copied()
            .filter(|covered| self.task(*covered).due.take().is_some())
            .collect();
        self.running = Some(Running { kind, since: now, covers, meanwhile: BTreeSet::new() });
        Some(kind)
    }

    /// The time of the next work; `None` while some is being done.
    pub fn due(&self) -> Option<Instant> {
        if self.running.is_some() {
            return None;
        }
        self.tasks.iter().filter_map(|task| task.due).min()
    }

    /// The work that was begun has ended.
    pub fn end(&mut self, outcome: JobOutcome, now: Instant) {
        let Some(Running { kind, since, covers, meanwhile }) = self.running.take() else { return };
        let longest = if kind == Kind::Firewall { self.period } else { LONGEST_REST };
        let rest = longest.min((now - since) * REST);
        match outcome {
            JobOutcome::Done => {
                self.succeed(kind, now, rest);
                kind.covered().iter().for_each(|covered| self.succeed(*covered, now, Duration::ZERO));
            }
            JobOutcome::TooSmall => {
                self.task(kind).earliest = now + rest;
                self.plan(Kind::Everything, now);
                if kind == Kind::Programs {
                    self.plan(kind, now + LOOK);
                }
            }
            JobOutcome::Partly => self.fail(kind, now, rest.max(SPACING)),
            JobOutcome::Failed => self.fail(kind, now, Duration::MAX),
        }
        if outcome == JobOutcome::Failed {
            covers.iter().for_each(|covered| self.plan(*covered, now));
        }
        let echo = match outcome {
            JobOutcome::Done | JobOutcome::TooSmall => now + SETTLE,
            // A failed pass must not wake itself by its own changes; its repetition sees what others did meanwhile.
            JobOutcome::Partly | JobOutcome::Failed => self.task(kind).due.unwrap_or(now + SETTLE),
        };
        meanwhile.into_iter().for_each(|wished| self.plan(wished, echo));
    }

    fn succeed(&mut self, kind: Kind, now: Instant, rest: Duration) {
        let longest = longest(kind, self.period);
        let task = self.task(kind);
        task.pause = RETRY.min(longest);
        task.earliest = now + rest;
        match kind {
            Kind::Everything | Kind::Programs => self.plan(kind, now + longest),
            Kind::Firewall | Kind::Routes | Kind::Cluster => {}
        }
    }

    /// Repeats the work after its pause; events bring it forward only after `spacing`.
    fn fail(&mut self, kind: Kind, now: Instant, spacing: Duration) {
        let longest = longest(kind, self.period);
        let task = self.task(kind);
        let pause = task.pause;
        task.pause = longest.min(pause * 2);
        task.earliest = now + spacing.min(pause);
        task.due = Some(task.due.map_or(now + pause, |due| due.min(now + pause)));
    }

    /// Plans the work for that time, or as soon after it as possible; an earlier plan stays.
    fn plan(&mut self, kind: Kind, at: Instant) {
        let task = self.task(kind);
        let at = at.max(task.earliest);
        task.due = Some(task.due.map_or(at, |due| due.min(at)));
    }

    const fn task(&mut self, kind: Kind) -> &mut Task {
        &mut self.tasks[kind as usize]
    }
}

/// The longest pause: of work that is periodic, and of work that fails again and again.
fn longest(kind: Kind, period: Duration) -> Duration {
    if kind == Kind::Programs { LOOK } else { period }
}

#[cfg(test)]
mod tests;
