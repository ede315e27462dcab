use std::{
    fs,
    io::{self, ErrorKind},
};

use naru_core::services::{Backend, Frontend, Reason, ServiceName, Table};
use naru_node::paths::Paths;
use serde::{Deserialize, Serialize};

/// The agent's note on Services for commands, in `<run>/services.json`: names and reasons, which the maps do not
/// have. It lags behind the maps by a second at most.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ServiceNote {
    /// The source.
    pub source: String,
    /// Every frontend, in order.
    pub frontends: Vec<FrontendNote>,
    /// Services without a frontend, each with the reason.
    pub left: Vec<(ServiceName, Reason)>,
}

/// One frontend.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FrontendNote {
    /// The Service.
    pub service: ServiceName,
    /// The name of its port; empty where it has only one.
    pub port_name: String,
    /// Address, port and protocol.
    pub frontend: Frontend,
    /// The reason for which new flows take the stack.
    pub stack: Option<Reason>,
    /// Seconds of session affinity.
    pub affinity: Option<u32>,
    /// Backends that get no new flows and serve those that they have.
    pub kept: Vec<Backend>,
}

impl ServiceNote {
    /// The note of a table.
    #[must_use]
    pub fn of(table: &Table, source: &str) -> Self {
        let note = |(frontend, one): (&Frontend, &naru_core::services::Translation)| FrontendNote {
            service: one.service.clone(),
            port_name: one.port_name.clone(),
            frontend: *frontend,
            stack: one.stack.clone(),
            affinity: one.affinity,
            kept: one.kept.clone(),
        };
        Self {
            source: source.to_owned(),
            frontends: table.frontends.iter().map(note).collect(),
            left: table.left.iter().map(|(name, reason)| (name.clone(), reason.clone())).collect(),
        }
    }

    /// The note that is there; `None` where no agent has known Services in this boot.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn load(paths: &Paths) -> io::Result<Option<Self>> {
        match fs::read(paths.service_note()) {
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
        let file = paths.service_note();
        // Named as every file that is about to take another's place: uninstall knows it by that.
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let next = file.with_file_name(format!(".{name}.{}-0.tmp", std::process::id()));
        fs::write(&next, serde_json::to_vec(self)?)?;
        fs::rename(next, file)
    }
}
