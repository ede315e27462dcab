//! The agent's work after init: it follows the cluster. The datapath needs nothing from it: killed at any moment it
//! leaves a node that works, and started again it leads the node from its present to its desired state.
//!
//! [`follow`] waits, and decides when to do what (`schedule`); a thread of its own does it (`worker`, [`Mirror`]).

mod changes;
mod contact;
mod interest;
mod mirror;
mod policies;
mod said;
mod schedule;
mod serve;
mod services;
mod worker;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use naru_cluster::{Contact, Source, View};
use naru_core::{
    cluster::{ClusterSpec, NodeSpec},
    policy::model::Node,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};

use changes::{Changes, News};
use interest::Interest;
pub use mirror::Mirror;
use said::Said;
use schedule::{JobOutcome, Kind, Schedule};
use serve::Counter;
use worker::{Job, Report, Worker};

/// Time for which the first pass waits for the source: without a new view, a node serves the cluster that it accepted
/// last.
const FIRST_VIEW: Duration = Duration::from_secs(1);

/// Makes the node, then follows `source` until SIGTERM or SIGINT, whatever is under way then. Watches begin before the
/// first look, so that no change falls in between.
///
/// # Errors
/// The system refuses a socket, a signal handler or a thread; another agent runs here.
pub async fn follow(mut mirror: Mirror, source: Box<dyn Source>, period: Duration) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    mirror.claim()?;
    let mut agent = Agent::start(mirror, source, period)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        end = agent.run() => return end,
    }
    tracing::info!("stopped; the datapath goes on without the agent");
    Ok(())
}

/// The topics of log messages about the source.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Topic {
    /// The source cannot be reached, or its cluster is invalid.
    Source,
    /// Parts of it are left out.
    LeftOut,
}

/// Everything that the agent waits for, and its agenda.
struct Agent {
    name: String,
    schedule: Schedule,
    worker: Worker,
    /// `None` after its socket failed.
    changes: Option<Changes>,
    firewall: Arc<Notify>,
    views: watch::Receiver<View>,
    contact: Contact,
    counter: Counter,
    said: Said<Topic>,
    interest: Interest,
    /// Interfaces whose filters somebody changed, for the next look at programs.
    filters: BTreeSet<u32>,
    is_following: bool,
}

impl Agent {
    fn start(mirror: Mirror, source: Box<dyn Source>, period: Duration) -> anyhow::Result<Self> {
        let (sender, views) = watch::channel(View::default());
        let (name, contact) = (source.describe(), Contact::default());
        let (changes, firewall) = (Changes::open(mirror.pins())?, changes::watch_firewall()?);
        let mut counter = Counter::new(mirror.paths().clone(), name.clone(), contact.clone(), views.clone());
        counter.open();
        services::keep(mirror.paths().clone(), contact.services().clone(), name.clone())?;
        policies::keep(mirror.paths().clone(), contact.policies().clone(), name.clone())?;
        tokio::spawn(contact::note(mirror.paths().clone(), contact.clone(), views.clone()));
        tokio::spawn(source.follow(sender, contact.clone()));
        let now = Instant::now();
        let mut schedule = Schedule::new(period, now);
        schedule.renew(Kind::Everything, now + FIRST_VIEW);
        Ok(Self {
            name,
            schedule,
            worker: Worker::start(mirror)?,
            changes: Some(changes),
            firewall,
            views,
            contact,
            counter,
            said: Said::default(),
            interest: Interest::default(),
            filters: BTreeSet::new(),
            is_following: false,
        })
    }

    /// Runs for ever, or until an error that cannot be repaired.
    async fn run(&mut self) -> anyhow::Result<()> {
        loop {
            if let Some(kind) = self.schedule.begin(Instant::now()) {
                self.give(kind)?;
            }
            tokio::select! {
                report = self.worker.report() => self.ended(report?)?,
                Ok(()) = self.views.changed() => self.viewed(),
                () = self.firewall.notified() => self.schedule.wish(Kind::Firewall, Instant::now()),
                news = next(&mut self.changes, &self.interest) => self.told(news),
                () = at(self.schedule.due()) => {}
            }
        }
    }

    fn give(&mut self, kind: Kind) -> anyhow::Result<()> {
        let filters =
            if kind == Kind::Programs { std::mem::take(&mut self.filters) } else { BTreeSet::new() };
        let view = self.views.borrow().clone();
        if matches!(kind, Kind::Cluster | Kind::Everything) {
            // A route may begin to matter during the job, after the job has looked.
            self.interest = Interest::default();
        }
        self.counter.begin(Instant::now());
        self.worker.give(Job { kind, view, filters })
    }

    fn ended(&mut self, report: Report) -> anyhow::Result<()> {
        // News that have come by now may be the job's own doing; the schedule must have them before it learns of the
        // end.
        if let Some(changes) = &mut self.changes {
            let news = changes.pending(&self.interest);
            self.told(news);
        }
        self.interest = report.interest.unwrap_or_else(|| std::mem::take(&mut self.interest));
        let outcome = report.outcome?;
        if let Some(serves) = report.serves {
            // A pass that failed says nothing about the state that the one before left.
            if !serves || matches!(outcome, JobOutcome::Done | JobOutcome::Partly) {
                self.contact.set_ready(serves);
            }
        }
        if report.serves.is_some() {
            // The maps may be new ones.
            self.contact.services().wake();
            self.contact.policies().wake();
        }
        self.counter.end();
        self.schedule.end(outcome, Instant::now());
        if !self.is_following {
            self.is_following = true;
            tracing::info!("following {}", self.name);
        }
        Ok(())
    }

    /// The source has news.
    fn viewed(&mut self) {
        let view = self.views.borrow_and_update().clone();
        let complaint = view.complaint.iter().map(|error| format!("{error}: the last good cluster stays"));
        self.said.log(Topic::Source, complaint.collect());
        if let Some(cluster) = &view.cluster {
            self.contact.policies().change(|known| known.set_nodes(nodes(cluster)));
        }
        self.said.log(Topic::LeftOut, view.remarks.iter().map(ToString::to_string).collect());
        let kind = if self.is_following { Kind::Cluster } else { Kind::Everything };
        self.schedule.renew(kind, Instant::now());
    }

    fn told(&mut self, news: Result<Vec<News>, naru_netlink::links::LinkError>) {
        let news = news.unwrap_or_else(|error| {
            tracing::error!("netlink: {error}: only the periodic pass sees changes from here on");
            self.changes = None;
            vec![News::Wish(Kind::Everything)]
        });
        for told in news {
            match told {
                News::Wish(kind) => self.schedule.wish(kind, Instant::now()),
                News::Filters(index) => drop(self.filters.insert(index)),
                News::Addresses => self.contact.services().wake(),
            }
        }
    }
}

/// The nodes of a cluster, as policies know them.
fn nodes(cluster: &ClusterSpec) -> BTreeMap<String, Node> {
    let node = |one: &NodeSpec| {
        (one.name.clone(), Node { addresses: one.addresses.clone(), blocks: one.blocks.clone() })
    };
    cluster.nodes.iter().map(node).collect()
}

/// Returns the next changes; waits for ever without a socket.
async fn next(
    changes: &mut Option<Changes>,
    interest: &Interest,
) -> Result<Vec<News>, naru_netlink::links::LinkError> {
    match changes {
        Some(changes) => changes.next(interest).await,
        None => std::future::pending().await,
    }
}

/// Ends at that time; never without one.
async fn at(due: Option<Instant>) {
    match due {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
