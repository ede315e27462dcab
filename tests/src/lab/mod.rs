//! A lab for a test: up when made, down when dropped.

mod model;

use std::{
    net::IpAddr,
    ops::Deref,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::Value;

pub use model::{Model, Node, Outside, Pod};

use crate::{dist, netns::Netns, probe::Host, tool};

/// A lab and what is in it.
#[derive(Debug)]
pub struct Lab {
    model: Model,
    /// Time that `up` took; zero for a lab that existed before.
    pub took: Duration,
    owned: bool,
}

impl Lab {
    /// Brings up a lab with `options` (as for `naru lab up`) under a name of its own. Unless the options say
    /// otherwise, packets go through the tunnel and its device encapsulates them.
    ///
    /// # Errors
    /// The binaries are missing or `up` fails.
    pub fn up(options: &str) -> anyhow::Result<Self> {
        let name = fresh_name();
        let started = Instant::now();
        let defaults = [("--routing", "tunnel"), ("--encapsulation", "device")];
        let missing = defaults.iter().filter(|(flag, _)| !options.contains(flag));
        command("up", &name)?
            .args(missing.flat_map(|(flag, value)| [flag, value]))
            .args(options.split_ascii_whitespace())
            .output()
            .map_err(anyhow::Error::from)
            .and_then(tool::text)
            .with_context(|| format!("naru lab up {options}"))?;
        let took = started.elapsed();
        match load(&name) {
            Ok(model) => Ok(Self { model, took, owned: true }),
            Err(error) => {
                down(&name);
                Err(error)
            }
        }
    }

    /// Opens the lab `name`, which stays up.
    ///
    /// # Errors
    /// There is no such lab.
    pub fn existing(name: &str) -> anyhow::Result<Self> {
        Ok(Self { model: load(name)?, took: Duration::ZERO, owned: false })
    }

    /// Reads its state again.
    ///
    /// # Errors
    /// The lab is gone.
    pub fn reload(&mut self) -> anyhow::Result<()> {
        self.model = load(&self.model.name)?;
        Ok(())
    }

    /// The node `name`.
    ///
    /// # Errors
    /// There is no such node.
    pub fn node(&self, name: &str) -> anyhow::Result<&Node> {
        self.nodes.iter().find(|node| node.name == name).with_context(|| format!("no node {name}"))
    }

    /// The pod `name`.
    ///
    /// # Errors
    /// There is no such pod.
    pub fn pod(&self, name: &str) -> anyhow::Result<&Pod> {
        self.pods.iter().find(|pod| pod.name == name).with_context(|| format!("no pod {name}"))
    }

    /// The pod, node or outside host (`out`, `listed`) `name` with its address of one family; `None` if it has none.
    ///
    /// # Errors
    /// There is no such host.
    pub fn host(&self, name: &str, v6: bool) -> anyhow::Result<Option<Host>> {
        let (netns, addresses) = match name {
            "out" => (&self.outside.netns, &self.outside.addresses),
            "listed" => (&self.outside.netns, &self.outside.listed),
            _ if name.starts_with('n') => self.node(name).map(|node| (&node.netns, &node.addresses))?,
            _ => self.pod(name).map(|pod| (&pod.netns, &pod.addresses))?,
        };
        let netns = Netns::open(netns)?;
        let address = addresses.iter().copied().find(|address| address.is_ipv6() == v6);
        Ok(address.map(|address| Host { name: name.to_owned(), netns, address }))
    }

    /// As [`Lab::host`], for a host that must have an address of the family.
    ///
    /// # Errors
    /// The host has none.
    pub fn must_host(&self, name: &str, v6: bool) -> anyhow::Result<Host> {
        self.host(name, v6)?.with_context(|| format!("{name}: no address of the family"))
    }
}

impl Deref for Lab {
    type Target = Model;

    fn deref(&self) -> &Model {
        &self.model
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.owned && std::env::var_os("NARU_KEEP_LAB").is_none() {
            down(&self.model.name);
        }
    }
}

/// A lab name that no other test, in this process or another, uses.
#[must_use]
pub fn fresh_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("e{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// `naru lab VERB --lab NAME`, ready for more arguments.
///
/// # Errors
/// The binary is missing.
pub fn command(verb: &str, name: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(dist::binary("naru")?);
    command.args(["lab", verb, "--lab", name]).stdin(Stdio::null());
    Ok(command)
}

fn load(name: &str) -> anyhow::Result<Model> {
    let output = command("status", name)?.arg("--json").output().context("run naru lab status")?;
    let text = tool::text(output).with_context(|| format!("naru lab status --lab {name}"))?;
    serde_json::from_str(&text).with_context(|| format!("lab {name}: status: {text}"))
}

fn down(name: &str) {
    match command("down", name).and_then(|mut command| Ok(command.output()?)).and_then(tool::text) {
        Ok(_) => {}
        Err(error) => eprintln!("lab {name}: down: {error:#}"),
    }
}

impl Node {
    /// Its namespace.
    ///
    /// # Errors
    /// The namespace is gone.
    pub fn open(&self) -> anyhow::Result<Netns> {
        Netns::open(&self.netns)
    }

    /// The environment that makes the binaries work on this node.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, std::path::PathBuf)> {
        let boot_id = self.boot_id.iter().map(|id| ("NARU_BOOT_ID", id.into()));
        let directories = [
            ("NARU_NODE", self.name.as_str().into()),
            ("NARU_RUN_DIR", self.root.join("run")),
            ("NARU_STATE_DIR", self.root.join("state")),
            ("NARU_BPF_DIR", self.root.join("bpf")),
            ("NARU_CONFIG_DIR", self.root.join("config")),
            ("NARU_CNI_CONF_DIR", self.root.join("cni/conf")),
            ("NARU_CNI_BIN_DIR", self.root.join("cni/bin")),
        ];
        boot_id.chain(directories).collect()
    }

    /// Runs `naru` with the arguments of `line` on this node and returns what it prints.
    ///
    /// # Errors
    /// The command fails.
    pub fn naru(&self, line: &str) -> anyhow::Result<String> {
        let mut command = Command::new(dist::binary("naru")?);
        command.args(line.split_ascii_whitespace()).envs(self.environment());
        tool::output(&self.open()?, &mut command, "")
            .and_then(tool::text)
            .with_context(|| format!("node {}: naru {line}", self.name))
    }

    /// An address of the node's blocks that no pod holds: the last of those that `naru ipam list` calls free.
    ///
    /// # Errors
    /// There is none of the family.
    pub fn free_address(&self, v6: bool) -> anyhow::Result<IpAddr> {
        let list = self.naru_json("ipam list")?;
        let lines = list.as_array().into_iter().flatten().filter(|line| line["status"] == "FREE");
        let mut last = lines.filter_map(|line| line["last"].as_str()?.parse::<IpAddr>().ok());
        let found = last.rfind(|address| address.is_ipv6() == v6);
        found.with_context(|| format!("node {}: no free address", self.name))
    }

    /// As [`Node::naru`] with `--json`, parsed.
    ///
    /// # Errors
    /// The command fails or prints no JSON.
    pub fn naru_json(&self, line: &str) -> anyhow::Result<Value> {
        let text = self.naru(&format!("{line} --json"))?;
        serde_json::from_str(&text).with_context(|| format!("node {}: naru {line} --json: {text}", self.name))
    }

    /// The pins of this node's maps.
    ///
    /// # Errors
    /// There are none, or of several versions.
    pub fn pins(&self) -> anyhow::Result<std::path::PathBuf> {
        let entries = std::fs::read_dir(self.root.join("bpf")).context("read the pin directory")?;
        // The kernel's own `*.debug` files are in the same directory.
        let pins = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("abi"));
        let found: Vec<_> = pins.map(|entry| entry.path()).collect();
        match found.as_slice() {
            [only] => Ok(only.clone()),
            other => bail!("node {}: pin directories: {other:?}", self.name),
        }
    }
}
