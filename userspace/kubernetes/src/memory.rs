use std::{fs, io, net::IpAddr, path::Path};

use serde::{Deserialize, Serialize};

use crate::{follow::Remembered, progress::Positions};

/// State that outlives the process and a reboot, in `<state>/kubernetes.json`. The agent can do without it: then a
/// first list is believed as it is, and the API is looked for where every node may find it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Addresses of the API servers, as the API named them last.
    pub servers: Vec<String>,
    /// The nodes.
    pub nodes: Option<Remembered>,
    /// This node.
    pub own: Own,
    /// The states of Services, policies and what belongs to them.
    pub services: Positions,
}

/// The own node as the API knew it last.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Own {
    /// The identity of its object.
    pub uid: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

impl Memory {
    /// Loads the file; returns an empty state if it cannot be read.
    pub fn load(file: &Path) -> Self {
        let text = fs::read(file).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Saves the file; an error if its directory does not exist, as before the first init.
    pub fn save(&self, file: &Path) -> io::Result<()> {
        // Named like every temporary file of ours, so that uninstall recognises it.
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let next = file.with_file_name(format!(".{name}.{}-0.tmp", std::process::id()));
        fs::write(&next, serde_json::to_vec(self)?)?;
        fs::rename(next, file)
    }
}
