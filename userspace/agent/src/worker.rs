use std::{collections::BTreeSet, sync::mpsc};

use naru_cluster::View;
use naru_node::machine::MachineError;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::{
    Mirror,
    interest::Interest,
    schedule::{JobOutcome, Kind},
};

/// One thing to do.
#[derive(Debug)]
pub struct Job {
    /// The kind of work.
    pub kind: Kind,
    /// The cluster as its source knows it.
    pub view: View,
    /// Interfaces whose filters somebody changed.
    pub filters: BTreeSet<u32>,
}

/// The report of a job.
#[derive(Debug)]
pub struct Report {
    /// Its outcome; an error if the agent must not continue.
    pub outcome: Result<JobOutcome, MachineError>,
    /// The routes of others that matter from here on, if they may have changed.
    pub interest: Option<Interest>,
    /// True if pods get addresses here; `None` if that cannot have changed.
    pub serves: Option<bool>,
}

/// A thread of its own that owns the mirror: everything that blocks is done there, one job at a time. The process does
/// not wait for it at its end; its work may break off anywhere.
pub struct Worker {
    jobs: mpsc::Sender<Job>,
    reports: UnboundedReceiver<Report>,
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub fn start(mut mirror: Mirror) -> anyhow::Result<Self> {
        let (jobs, todo) = mpsc::channel();
        let (done, reports) = unbounded_channel();
        std::thread::Builder::new().name("mirror".into()).spawn(move || {
            // Ends when either end of the channels is gone.
            while let Ok(job) = todo.recv() {
                if done.send(mirror.work(&job)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { jobs, reports })
    }

    /// Gives the thread a job; the one before must have ended.
    ///
    /// # Errors
    /// The thread has ended.
    pub fn give(&self, job: Job) -> anyhow::Result<()> {
        self.jobs.send(job).map_err(|_| anyhow::anyhow!("the thread that mirrors the cluster has ended"))
    }

    /// Waits for the end of the job.
    ///
    /// # Errors
    /// The thread has ended.
    pub async fn report(&mut self) -> anyhow::Result<Report> {
        self.reports
            .recv()
            .await
            .ok_or_else(|| anyhow::anyhow!("the thread that mirrors the cluster has ended"))
    }
}
