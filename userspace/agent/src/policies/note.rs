use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use naru_node::paths::Paths;
use naru_view::{PodNote, PolicyNote};

use super::engine::Engine;

/// Least time between two notes for commands.
const PAUSE: Duration = Duration::from_secs(1);

/// The note for commands, which find only numbers in the maps.
pub struct Noted {
    paths: Paths,
    source: String,
    note: Option<PolicyNote>,
    at: Option<Instant>,
    is_due: bool,
}

impl Noted {
    /// Nothing is noted yet.
    pub const fn new(paths: Paths, source: String) -> Self {
        Self { paths, source, note: None, at: None, is_due: false }
    }

    /// True if a change is not noted yet.
    pub const fn is_due(&self) -> bool {
        self.is_due
    }

    /// Notes what is in force, if that changed.
    pub fn note(&mut self, engine: &Engine) {
        if !engine.is_enforcing() {
            return;
        }
        if self.at.is_some_and(|at| at.elapsed() < PAUSE) {
            self.is_due = true;
            return;
        }
        self.is_due = false;
        self.at = Some(Instant::now());
        let mut note = self.take(engine);
        if let Some(noted) = &self.note {
            note.since = noted.since;
        }
        if self.note.as_ref() == Some(&note) {
            return;
        }
        note.since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        match note.save(&self.paths) {
            Ok(()) => self.note = Some(note),
            Err(error) => tracing::debug!("{}: {error}", self.paths.policy_note().display()),
        }
    }

    fn take(&self, engine: &Engine) -> PolicyNote {
        let Some(compiler) = engine.compiler() else { return PolicyNote::default() };
        let cluster = compiler.cluster();
        let pods = engine.locals().here().map(|one| {
            let uid = engine.locals().uid(&one.pod);
            let isolation = uid.map(|uid| compiler.isolation(uid)).unwrap_or_default();
            PodNote {
                pod: one.pod.to_string(),
                addresses: one.addresses.iter().copied().collect(),
                subject: isolation.subject,
                ingress: isolation.ingress,
                egress: isolation.egress,
            }
        });
        let rules = compiler.rules().map(|(number, rule)| {
            let direction = rule.direction.label();
            (number, format!("{} {direction} rule {}", rule.policy, rule.index + 1))
        });
        PolicyNote {
            source: self.source.clone(),
            since: 0,
            policies: cluster.policies.keys().map(ToString::to_string).collect(),
            pods: pods.collect(),
            rules: rules.collect(),
            closed: engine.closed().map(ToString::to_string).collect(),
            refused: engine.refused().map(ToString::to_string).collect(),
        }
    }
}
