//! The status socket of the agent, which answers every caller with one JSON object. Probes and `naru status` use it,
//! also while the source is out of reach.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::PermissionsExt,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use naru_cluster::{Contact, View, policies, services::Standing};
use naru_node::{
    machine::{self, LastContact},
    paths::Paths,
};
use naru_view::{AgentReport, PoliciesReport, ServicesReport};
use tokio::{
    io::AsyncWriteExt,
    net::{UnixListener, UnixStream},
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};

/// A job that takes so long is stuck, in a lock or a disk.
const STUCK: Duration = Duration::from_secs(600);
/// Time that a caller may take to read.
const PATIENCE: Duration = Duration::from_secs(2);

/// The status socket; it closes when it is dropped.
pub struct Counter {
    paths: Paths,
    known: Known,
    work: Option<JoinHandle<()>>,
}

/// The state that callers are told.
#[derive(Clone)]
struct Known {
    paths: Paths,
    source: String,
    contact: Contact,
    views: watch::Receiver<View>,
    ready: watch::Receiver<bool>,
    /// The beginning of the job under way.
    since: Arc<Mutex<Option<Instant>>>,
}

impl Counter {
    /// A counter that is not open yet.
    pub fn new(paths: Paths, source: String, contact: Contact, views: watch::Receiver<View>) -> Self {
        let ready = contact.ready();
        let known = Known { paths: paths.clone(), source, contact, views, ready, since: Arc::default() };
        Self { paths, known, work: None }
    }

    /// Opens the socket if its directory exists and it is not open yet; before the first init there is no directory. A
    /// node has one agent, so a socket that exists is left over from an agent that was killed. After a newer naru
    /// nothing is created.
    pub fn open(&mut self) {
        let socket = self.paths.agent_socket();
        if self.work.is_some() && socket.exists() {
            return;
        }
        self.close();
        if machine::refuse_newer(&self.paths).is_err() {
            return;
        }
        match bind(&socket) {
            Ok(listener) => self.work = Some(tokio::spawn(answer(listener, self.known.clone()))),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => tracing::warn!("{}: {error}: the agent cannot be queried", socket.display()),
        }
    }

    /// A job begins.
    pub fn begin(&self, now: Instant) {
        self.set(Some(now));
    }

    /// Notes that the job ended, which may have made the directory of the socket.
    pub fn end(&mut self) {
        self.set(None);
        self.open();
    }

    fn set(&self, since: Option<Instant>) {
        *self.known.since.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = since;
    }

    fn close(&mut self) {
        if let Some(work) = self.work.take() {
            work.abort();
            let _ = fs::remove_file(self.paths.agent_socket());
        }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.close();
    }
}

/// A socket for root alone.
fn bind(socket: &std::path::Path) -> std::io::Result<UnixListener> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn answer(listener: UnixListener, known: Known) {
    loop {
        let Ok((mut caller, _)) = listener.accept().await else {
            // Too many open files: they go again.
            tokio::time::sleep(PATIENCE).await;
            continue;
        };
        let Ok(report) = serde_json::to_vec(&known.report()) else { continue };
        // One caller at a time: one that does not read is dropped after a moment.
        let _ = timeout(PATIENCE, send(&mut caller, &report)).await;
    }
}

async fn send(caller: &mut UnixStream, report: &[u8]) -> std::io::Result<()> {
    caller.write_all(report).await?;
    caller.shutdown().await
}

impl Known {
    /// True if plugins refuse pods because the source was not heard for too long.
    fn is_overdue(&self) -> bool {
        let contact = LastContact::load(&self.paths).ok().flatten();
        contact.is_some_and(|contact| contact.overdue(SystemTime::now()).is_some())
    }

    fn report(&self) -> AgentReport {
        let view = self.views.borrow();
        let since = *self.since.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let seconds =
            |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok().map(|age| age.as_secs());
        AgentReport {
            source: self.source.clone(),
            heard: self.contact.heard().and_then(seconds),
            revision: view.revision.as_ref().map(ToString::to_string),
            complaint: view.complaint.as_ref().map(ToString::to_string),
            left_out: view.remarks.iter().map(ToString::to_string).collect(),
            ready: *self.ready.borrow() && !self.is_overdue(),
            live: since.is_none_or(|since| since.elapsed() < STUCK),
            services: self.contact.services().read(|known| {
                let report = ServicesReport {
                    mode: known.mode().label().to_owned(),
                    known: known.model().len(),
                    heard: known.heard().and_then(seconds),
                    complaint: known.complaint().map(str::to_owned),
                };
                (known.standing() != Standing::Nowhere).then_some(report)
            }),
            policies: self.contact.policies().read(|known| {
                let report = PoliciesReport {
                    mode: known.settings().mode.label().to_owned(),
                    own_node_egress: known.settings().own_node_egress.label().to_owned(),
                    known: known.policies(),
                    heard: known.heard().and_then(seconds),
                    complaint: known.complaint().map(str::to_owned),
                    left_out: known.faults().map(str::to_owned).collect(),
                };
                (known.standing() != policies::Standing::Nowhere).then_some(report)
            }),
        }
    }
}
