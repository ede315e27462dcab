//! Services, kept by a thread of their own: a changed endpoint is in force while a pass over everything is still at
//! work.

use std::{
    collections::BTreeSet,
    thread::sleep,
    time::{Duration, Instant, SystemTime},
};

use naru_cluster::services::{Known, Mode, Register, Standing};
use naru_core::services::{Compiler, Place};
use naru_netlink::links::Links;
use naru_node::{
    machine::{self, MARKS, MachineError},
    paths::Paths,
};
use naru_view::ServiceNote;

use crate::said::Said;

/// Time for which changes are gathered: a rollout changes several objects.
const SETTLE: Duration = Duration::from_millis(20);
/// Period in which the node's addresses are looked at although nothing was announced, and in which the datapath is told
/// how old its Services are.
const PERIOD: Duration = Duration::from_secs(10);
/// Period in which flows that ended are forgotten.
const SWEEP: Duration = Duration::from_secs(10);
/// Pause after a failure, twice as long after each further one, up to the longest.
const RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// Least time between two notes for commands.
const NOTE: Duration = Duration::from_secs(1);

/// Subject of a complaint by the thread.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Topic {
    /// The source.
    Source,
    /// The maps, or the machine.
    Node,
}

/// The thread's state.
struct Keeper {
    paths: Paths,
    register: Register,
    /// Name of the source.
    source: String,
    /// `None` before the first table, and after a failure: the next one is made of everything.
    compiler: Option<Compiler>,
    /// The last note, and whether it says what is now.
    noted: Option<Instant>,
    is_noted: bool,
    swept: Instant,
    /// The last table that was written.
    applied: Option<Instant>,
    said: Said<Topic>,
}

/// Starts the thread, which ends with the process: whatever it does may be broken off anywhere.
///
/// # Errors
/// The system has no thread for it.
pub fn keep(paths: Paths, register: Register, source: String) -> std::io::Result<()> {
    let mut keeper = Keeper {
        paths,
        register,
        source,
        compiler: None,
        noted: None,
        is_noted: true,
        swept: Instant::now(),
        applied: None,
        said: Said::default(),
    };
    std::thread::Builder::new().name("services".into()).spawn(move || keeper.run()).map(drop)
}

impl Keeper {
    fn run(&mut self) {
        let mut pause = RETRY;
        loop {
            self.register.wait(if self.is_noted { PERIOD } else { NOTE });
            sleep(SETTLE);
            let complaint = self.round().err().map(|error| format!("services: {error}"));
            if complaint.is_some() {
                // What was compiled and not written must be written by the next round.
                self.compiler = None;
            }
            let has_failed = complaint.is_some();
            self.said.log(Topic::Node, complaint.into_iter().collect());
            self.tell_source();
            if has_failed {
                sleep(pause);
                pause = (pause * 2).min(LONGEST_RETRY);
                self.register.wake();
            } else {
                pause = RETRY;
            }
        }
    }

    /// One look at everything that a table is made of, and the table's way into the maps.
    fn round(&mut self) -> Result<(), MachineError> {
        // Before the first init there is nothing to write to, and after it this is called again.
        let Some(facts) = machine::current(&self.paths)? else { return Ok(()) };
        let own: BTreeSet<_> = Links::open(MARKS)?.addresses()?.into_iter().map(|held| held.ip).collect();
        // Whoever wakes this thread may have made the maps anew, and nobody tells of a change of theirs.
        let is_due =
            self.applied.is_none_or(|at| at.elapsed() >= PERIOD) || self.register.read(Known::is_woken);
        let (compiler, heard) = (&mut self.compiler, &mut None);
        let is_changed = self.register.take(|known, changed| {
            if known.standing() == Standing::Unread {
                return false;
            }
            *heard = known.heard();
            let place = Place {
                zone: known.zone(&facts.node).to_owned(),
                node: facts.node,
                own,
                is_off: known.mode() == Mode::Stack,
            };
            match (compiler.as_mut().filter(|compiler| *compiler.place() == place), changed) {
                (Some(compiler), Some(changed)) => {
                    compiler.renew(known.model(), changed);
                    !changed.is_empty()
                }
                _ => {
                    let whole = compiler.insert(Compiler::new(place));
                    whole.renew(known.model(), known.model().names());
                    true
                }
            }
        });
        if let Some(compiler) = self.compiler.as_ref().filter(|_| is_changed || is_due) {
            let began = Instant::now();
            let changes = naru_node::services::apply(&self.paths, compiler.table())?;
            tracing::debug!("services: {changes} changes in {:?}", began.elapsed());
            self.applied = Some(Instant::now());
            self.is_noted &= !is_changed;
        }
        if let Some(heard) = *heard {
            let age = SystemTime::now().duration_since(heard).unwrap_or_default();
            naru_node::services::refresh(&self.paths, age)?;
        }
        if self.swept.elapsed() >= SWEEP {
            self.swept = Instant::now();
            let gone = naru_node::services::sweep(&self.paths)?;
            tracing::debug!(gone, "flows to Services that ended are forgotten");
        }
        self.note();
        Ok(())
    }

    /// Leaves names and reasons for commands, which find only numbers in the maps.
    fn note(&mut self) {
        let is_due = self.noted.is_none_or(|at| at.elapsed() >= NOTE);
        let Some(compiler) = self.compiler.as_ref().filter(|_| is_due && !self.is_noted) else { return };
        self.noted = Some(Instant::now());
        match ServiceNote::of(compiler.table(), &self.source).save(&self.paths) {
            Ok(()) => self.is_noted = true,
            Err(error) => tracing::debug!("{}: {error}", self.paths.service_note().display()),
        }
    }

    fn tell_source(&mut self) {
        let complaint = self.register.read(|known| known.complaint().map(str::to_owned));
        let said = complaint.map(|text| format!("services: {text}: what was known last stays"));
        self.said.log(Topic::Source, said.into_iter().collect());
    }
}
