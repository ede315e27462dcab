use std::{
    io::{self, Read},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

/// Time limit for an agent's answer: its loop never blocks.
const PATIENCE: Duration = Duration::from_secs(2);

/// The report of a running agent, which anyone who may open its socket can read.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AgentReport {
    /// The source of the cluster.
    pub source: String,
    /// Seconds since 1970 at which the source was heard last; null before.
    pub heard: Option<u64>,
    /// The state of the source that is followed.
    pub revision: Option<String>,
    /// The reason for which the source's present state is not followed.
    pub complaint: Option<String>,
    /// Parts of the source's state that are left out.
    pub left_out: Vec<String>,
    /// Pods get addresses here.
    pub ready: bool,
    /// True if the agent works: nothing has blocked for long.
    pub live: bool,
    /// Services; null where the source has none.
    #[serde(default)]
    pub services: Option<ServicesReport>,
    /// Policies; null where the source has none.
    #[serde(default)]
    pub policies: Option<PoliciesReport>,
}

/// A running agent's report on policies.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PoliciesReport {
    /// `auto` or `off`.
    pub mode: String,
    /// `judge` or `pass`: what becomes of packets of an isolated pod to its own node.
    #[serde(default)]
    pub own_node_egress: String,
    /// Policies that the source knows.
    pub known: usize,
    /// Seconds since 1970 at which the source was heard last of all that policies are made of; null before.
    pub heard: Option<u64>,
    /// The reason for which they may not be those of now.
    pub complaint: Option<String>,
    /// Objects that cannot be read, each with the reason.
    pub left_out: Vec<String>,
}

/// A running agent's report on Services.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ServicesReport {
    /// `auto` or `stack`.
    pub mode: String,
    /// Services that the source knows.
    pub known: usize,
    /// Seconds since 1970 at which the source was heard last of all that Services are made of; null before.
    pub heard: Option<u64>,
    /// The reason for which they may not be those of now.
    pub complaint: Option<String>,
}

impl AgentReport {
    /// Asks the agent behind `socket`.
    ///
    /// # Errors
    /// No agent runs, or it does not answer.
    pub fn ask(socket: &Path) -> io::Result<Self> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text)?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Seconds since the source was heard.
    #[must_use]
    pub fn age(&self) -> Option<u64> {
        self.heard.map(since)
    }
}

impl ServicesReport {
    /// Seconds since the source was heard.
    #[must_use]
    pub fn age(&self) -> Option<u64> {
        self.heard.map(since)
    }
}

impl PoliciesReport {
    /// Seconds since the source was heard.
    #[must_use]
    pub fn age(&self) -> Option<u64> {
        self.heard.map(since)
    }
}

/// Seconds since a time in seconds since 1970.
fn since(time: u64) -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.as_secs().saturating_sub(time)
}
