//! `naru-ipam` over a directory of its own.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use naru_core::ipam::State;
use naru_store::StateStore;
use serde_json::Value;

use super::{PLUGIN, Said, speak};

/// The plugin as `naru-ipam`, with the directory of its store.
pub struct Ipam {
    pub boot: String,
    root: tempfile::TempDir,
}

impl Ipam {
    pub fn new() -> Self {
        let root = tempfile::Builder::new().prefix("naru-ipam-").tempdir().unwrap();
        fs::create_dir(root.path().join("bin")).unwrap();
        symlink(PLUGIN, root.path().join("bin/naru-ipam")).unwrap();
        Self { boot: "boot-1".to_owned(), root }
    }

    pub fn directory(&self) -> &Path {
        self.root.path()
    }

    pub fn program(&self) -> PathBuf {
        self.root.path().join("bin/naru-ipam")
    }

    pub fn store(&self) -> PathBuf {
        self.root.path().join("run/state.db")
    }

    pub fn call_with(&self, verb: &str, container: &str, conf: &Value, more: &[(&str, &str)]) -> Said {
        let run = self.root.path().join("run");
        let environment = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", container),
            ("CNI_IFNAME", "eth0"),
            ("CNI_NETNS", "/nonexistent/netns"),
            ("CNI_PATH", "/opt/cni/bin"),
            ("NARU_RUN_DIR", run.to_str().unwrap()),
            ("NARU_BOOT_ID", &self.boot),
        ];
        let environment = [&environment[..], more].concat();
        speak(Command::new(self.program()), &environment, conf.to_string().as_bytes())
    }

    pub fn call(&self, verb: &str, container: &str, conf: &Value) -> Said {
        self.call_with(verb, container, conf, &[])
    }

    pub fn add(&self, container: &str, conf: &Value) -> Said {
        self.call("ADD", container, conf)
    }

    pub fn del(&self, container: &str, conf: &Value) -> Said {
        self.call("DEL", container, conf)
    }

    /// The holders of addresses.
    pub fn held(&self) -> Vec<(String, String)> {
        let rows = StateStore::open(&self.store(), &self.boot).unwrap().rows().unwrap();
        let held = rows.into_iter().filter(|row| row.state == State::Assigned);
        held.map(|row| (row.owner.unwrap().to_string(), row.address.to_string())).collect()
    }
}
