use std::{
    fs,
    io::{self, ErrorKind},
    net::IpAddr,
};

use naru_node::paths::Paths;
use serde::{Deserialize, Serialize};

use crate::{Code, Finding};

/// The agent's note on policies for commands, in `<run>/policies.json`: names, which the maps do not have. It lags
/// behind the maps by a second at most. There is none where no policy was ever in force in this boot.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PolicyNote {
    /// The source.
    pub source: String,
    /// Seconds since 1970 at which this came into force.
    pub since: u64,
    /// Names of the policies in force.
    pub policies: Vec<String>,
    /// The pods of this node.
    pub pods: Vec<PodNote>,
    /// The rules by their numbers in the maps.
    pub rules: Vec<(u32, String)>,
    /// Pods of this node that are closed, since the source does not say their labels.
    pub closed: Vec<String>,
    /// Objects that did not fit, each with the limit.
    pub refused: Vec<String>,
}

/// One pod of this node.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PodNote {
    /// `namespace/name`.
    pub pod: String,
    /// Its addresses here.
    pub addresses: Vec<IpAddr>,
    /// The number of its set of policies; 0 for none.
    pub subject: u32,
    /// Packets to it are judged.
    pub ingress: bool,
    /// Packets of it are judged.
    pub egress: bool,
}

impl PolicyNote {
    /// The note that is there; `None` where no agent has enforced policies in this boot.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn load(paths: &Paths) -> io::Result<Option<Self>> {
        match fs::read(paths.policy_note()) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Leaves it, as a whole or not at all.
    ///
    /// # Errors
    /// There is no room, or no directory.
    pub fn save(&self, paths: &Paths) -> io::Result<()> {
        let file = paths.policy_note();
        // Named as every file that is about to take another's place: uninstall knows it by that.
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let next = file.with_file_name(format!(".{name}.{}-0.tmp", std::process::id()));
        fs::write(&next, serde_json::to_vec(self)?)?;
        fs::rename(next, file)
    }

    /// The name of a rule by its number.
    #[must_use]
    pub fn rule(&self, number: u32) -> Option<&str> {
        self.rules.iter().find(|(known, _)| *known == number).map(|(_, name)| name.as_str())
    }

    /// What is not in force as it should be.
    pub(crate) fn findings(&self) -> impl Iterator<Item = Finding> {
        let closed = self.closed.iter().map(|pod| {
            let evidence = "only the node's own processes reach it: the source does not say its labels yet";
            Finding::new(Code::PodClosed, format!("pod {pod}"), evidence)
        });
        let refused = self.refused.iter().map(|text| {
            let (subject, evidence) = text.split_once(": ").unwrap_or(("a policy", text));
            Finding::new(Code::PolicyRefused, subject, format!("{evidence}; what was in force stays"))
        });
        closed.chain(refused)
    }
}
