//! Policies, kept by a thread of their own: what the source says is compiled (`engine`) and put into force, and a pod
//! that is being made gets its rights while its plugin waits (`desk`).

mod desk;
mod engine;
mod note;

use std::{
    collections::BTreeSet,
    sync::mpsc::{Receiver, channel},
    thread::sleep,
    time::{Duration, Instant},
};

use naru_cluster::policies::{Known, Register};
use naru_core::{ids::PodName, policy::local::Attachment};
use naru_node::{
    admission::{Answer, Standing},
    machine,
    paths::Paths,
};
use tokio::sync::oneshot;

use self::{
    desk::Ask,
    engine::{Engine, attachments},
    note::Noted,
};
use crate::said::Said;

/// Time for which changes are gathered where no plugin waits: a roll-out changes several objects.
const SETTLE: Duration = Duration::from_millis(20);
/// Period in which everything that is in force is looked at although nothing was announced.
const PERIOD: Duration = Duration::from_secs(10);
/// The same for some time after the first policy of a namespace: a plugin that read what was known before may still be
/// at work.
const WATCHFUL: Duration = Duration::from_secs(1);
const WATCHFUL_FOR: Duration = Duration::from_secs(15);
/// Time for which a new pod waits for the source to say its labels.
const PATIENCE: Duration = Duration::from_secs(1);
/// Period in which a waiting pod is looked at.
const AGAIN: Duration = Duration::from_millis(50);
/// Pause after a failure, twice as long after each further one, up to the longest.
const RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// Subject of a complaint by the thread.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Topic {
    /// The source.
    Source,
    /// The maps, or the machine.
    Node,
    /// What does not fit, and what cannot be read.
    LeftOut,
}

/// A new pod whose plugin waits.
struct Waiting {
    ask: Ask,
    until: Instant,
}

/// The thread's state.
struct Keeper {
    paths: Paths,
    register: Register,
    asks: Receiver<Ask>,
    /// Opens the desk, once.
    desk: Option<oneshot::Sender<()>>,
    waiting: Vec<Waiting>,
    engine: Engine,
    /// What new pods are judged by; `None` before the first look.
    standing: Option<Option<Standing>>,
    /// The time at which `standing` changed last.
    changed: Instant,
    looked: Option<Instant>,
    noted: Noted,
    said: Said<Topic>,
}

/// Starts the thread and the socket; both end with the process: whatever they do may be broken off anywhere.
///
/// # Errors
/// The system has no thread for it.
pub fn keep(paths: Paths, register: Register, source: String) -> std::io::Result<()> {
    let ((to_asks, asks), (open, opened)) = (channel(), oneshot::channel());
    tokio::spawn(desk::serve(paths.clone(), register.clone(), to_asks, opened));
    let mut keeper = Keeper {
        engine: Engine::default(),
        noted: Noted::new(paths.clone(), source),
        paths,
        register,
        asks,
        desk: Some(open),
        waiting: Vec::new(),
        standing: None,
        changed: Instant::now(),
        looked: None,
        said: Said::default(),
    };
    std::thread::Builder::new().name("policies".into()).spawn(move || keeper.run()).map(drop)
}

impl Keeper {
    fn run(&mut self) {
        let mut pause = RETRY;
        loop {
            self.register.wait(self.period());
            let now = Instant::now();
            let asked = self.asks.try_iter().map(|ask| Waiting { ask, until: now + PATIENCE });
            self.waiting.extend(asked);
            if self.waiting.is_empty() {
                sleep(SETTLE);
            }
            let complaint = self.round().err().map(|error| format!("policies: {error}"));
            let has_failed = complaint.is_some();
            if has_failed {
                // What was compiled and not written is made anew by the next round.
                self.engine.begin_again();
            }
            self.said.log(Topic::Node, complaint.into_iter().collect());
            self.tell();
            if has_failed {
                sleep(pause);
                pause = (pause * 2).min(LONGEST_RETRY);
                self.register.wake();
            } else {
                pause = RETRY;
            }
        }
    }

    fn period(&self) -> Duration {
        if !self.waiting.is_empty() {
            return AGAIN;
        }
        let is_watchful = self.engine.is_enforcing() && self.changed.elapsed() < WATCHFUL_FOR;
        if is_watchful || self.noted.is_due() { WATCHFUL } else { PERIOD }
    }

    /// One look at everything that policies are made of, and their way into the maps.
    fn round(&mut self) -> anyhow::Result<()> {
        // Before the first init there is nothing to write to, and after it this is called again.
        let Some(facts) = machine::current(&self.paths)? else { return Ok(()) };
        // Not before: a newer version's state is refused, and nothing of it is changed.
        if let Some(desk) = self.desk.take() {
            let _ = desk.send(());
        }
        let news = self.register.take();
        let is_read = news.is_some();
        if let Some(news) = news {
            let settings = self.register.read(Known::settings);
            self.engine.take(&facts.node, news, settings);
        }
        if is_read {
            self.stand()?;
        } else {
            self.expect_policies();
        }
        if is_read && self.engine.must_enforce(&self.paths)? {
            self.enforce(&facts.boot_id)?;
        }
        if is_read {
            self.register.set_unsaid(self.engine.unsaid());
        }
        self.reply(is_read);
        self.noted.note(&self.engine);
        Ok(())
    }

    /// Puts what is compiled into force.
    fn enforce(&mut self, boot: &str) -> anyhow::Result<()> {
        let is_due = self.looked.is_none_or(|at| at.elapsed() >= PERIOD);
        let here: Vec<Attachment> = attachments(&self.paths, boot)?;
        let began = Instant::now();
        let writes = self.engine.enforce(&self.paths, here, is_due)?;
        if is_due {
            self.looked = Some(Instant::now());
        }
        if writes > 0 {
            tracing::debug!("policies: {writes} writes in {:?}", began.elapsed());
        }
        Ok(())
    }

    /// Leaves on disk what new pods are judged by, before a plan that could concern them is carried out.
    fn stand(&mut self) -> anyhow::Result<()> {
        let is_expected = self.register.read(Known::is_expected);
        let standing = self.engine.standing().or_else(|| is_expected.then(Standing::default));
        if self.standing.as_ref() == Some(&standing) {
            return Ok(());
        }
        Standing::save(&self.paths, standing.as_ref())?;
        self.standing = Some(standing);
        self.changed = Instant::now();
        Ok(())
    }

    /// Before a source that has policies was ever read, nobody knows which pods are isolated.
    fn expect_policies(&mut self) {
        let is_expected = self.register.read(Known::is_expected);
        if self.standing.is_none() && is_expected && Standing::load(&self.paths).is_none() {
            let unread = Standing { is_unread: true, ..Standing::default() };
            if let Err(error) = Standing::save(&self.paths, Some(&unread)) {
                tracing::warn!("policies: {error}: pods that start before policies are known are open");
            }
            self.standing = Some(Some(unread));
        }
    }

    /// Answers the plugins whose pods have their rights, and those that waited long enough.
    fn reply(&mut self, is_read: bool) {
        let now = Instant::now();
        for Waiting { ask, until } in std::mem::take(&mut self.waiting) {
            let is_known = is_read && self.engine.is_settled(&ask.pod);
            if is_known || now >= until {
                if !is_known {
                    tracing::info!("{}: closed until the source says its labels", named(&ask.pod));
                }
                // A caller that is gone does not matter.
                let _ = ask.reply.send(Answer { is_known });
            } else {
                self.waiting.push(Waiting { ask, until });
            }
        }
    }

    fn tell(&mut self) {
        let unreadable = self.register.read(|known| known.unreadable().collect::<Vec<_>>());
        self.register.set_left_out(unreadable.into_iter().chain(self.engine.left_out()).collect());
        let (complaint, mut left_out) = self.register.read(|known| {
            let faults = known.faults().map(|fault| format!("{fault}: what it said before stays"));
            (known.complaint().map(str::to_owned), faults.collect::<BTreeSet<_>>())
        });
        left_out.extend(self.engine.refused().map(|refusal| format!("{refusal}: what was in force stays")));
        let said = complaint.map(|text| format!("policies: {text}: what was known last stays in force"));
        self.said.log(Topic::Source, said.into_iter().collect());
        self.said.log(Topic::LeftOut, left_out);
    }
}

fn named(pod: &PodName) -> String {
    format!("pod {pod}")
}
