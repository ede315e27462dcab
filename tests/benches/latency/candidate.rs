//! A plugin on a node of its own.

use std::{
    fs,
    io::Write,
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio, id},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use naru_e2e::{
    dist,
    netns::{Netns, Scratch},
    tool,
};
use naru_node::paths::Paths;
use serde_json::{Value, json};

use crate::used;

/// Where Debian has the reference plugins.
pub const REFERENCE: &str = "/usr/lib/cni";
const SUBNET: &str = "10.22.0.0/16";

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Plugin {
    /// naru-cni.
    Naru,
    /// ptp with host-local.
    Ptp,
    /// bridge with host-local.
    Bridge,
}

impl Plugin {
    fn name(self) -> &'static str {
        match self {
            Self::Naru => "naru",
            Self::Ptp => "ptp + host-local",
            Self::Bridge => "bridge + host-local",
        }
    }

    fn binary(self) -> anyhow::Result<PathBuf> {
        match self {
            Self::Naru => dist::binary("naru-cni"),
            Self::Ptp => Ok(Path::new(REFERENCE).join("ptp")),
            Self::Bridge => Ok(Path::new(REFERENCE).join("bridge")),
        }
    }
}

/// A plugin with a node's namespace, files below /run and a number of addresses in use.
pub struct Candidate {
    plugin: Plugin,
    used: u32,
    root: PathBuf,
    node: Scratch,
    binary: PathBuf,
}

impl Candidate {
    /// Makes the node and fills its store.
    ///
    /// # Errors
    /// The node cannot be made.
    pub fn prepare(plugin: Plugin, used: u32) -> anyhow::Result<Self> {
        let short = plugin.name().split(' ').next().unwrap_or_default();
        let name = format!("lat{}-{short}-{used}", id());
        let root = Path::new("/run").join(&name);
        let candidate = Self { plugin, used, node: Scratch::create(&name)?, binary: plugin.binary()?, root };
        fs::create_dir_all(&candidate.root).with_context(|| candidate.root.display().to_string())?;
        tool::run(candidate.node.netns(), "ip link set lo up")?;
        tool::run(candidate.node.netns(), "ip link add uplink type veth peer name far")?;
        tool::run(candidate.node.netns(), "ip address add 192.0.2.1/24 dev uplink")?;
        tool::run(candidate.node.netns(), "ip link set far up")?;
        tool::run(candidate.node.netns(), "ip link set uplink up")?;
        candidate.fill()?;
        Ok(candidate)
    }

    /// Its name in reports.
    pub fn name(&self) -> String {
        label(self.plugin.name(), self.used)
    }

    /// Times an ADD and its DEL for a new pod.
    ///
    /// # Errors
    /// The plugin fails.
    pub fn attach_and_detach(&self, number: u32) -> anyhow::Result<(Duration, Duration)> {
        let pod = Scratch::create(&format!("{}-{number}", self.node.netns().name()))?;
        let add = self.timed("ADD", pod.netns())?;
        let del = self.timed("DEL", pod.netns())?;
        Ok((add, del))
    }

    /// From the start of the process to its exit.
    fn timed(&self, verb: &str, pod: &Netns) -> anyhow::Result<Duration> {
        let conf = self.conf().to_string();
        self.node.netns().run(|| {
            let mut command = self.command(verb, pod);
            let start = Instant::now();
            let mut child = command.spawn().context("start")?;
            child.stdin.take().context("no stdin")?.write_all(conf.as_bytes())?;
            let output = child.wait_with_output()?;
            let took = start.elapsed();
            if !output.status.success() {
                bail!("{verb}: {}", String::from_utf8_lossy(&output.stdout));
            }
            Ok(took)
        })
    }

    fn command(&self, verb: &str, pod: &Netns) -> Command {
        let mut command = Command::new(&self.binary);
        command.env_clear().envs(self.environment()).env("CNI_COMMAND", verb);
        command.env("CNI_CONTAINERID", pod.name()).env("CNI_NETNS", pod.path());
        command
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", REFERENCE)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let paths = Paths::under(&self.root);
        vec![
            ("NARU_RUN_DIR", paths.run),
            ("NARU_STATE_DIR", paths.state),
            ("NARU_BPF_DIR", paths.bpf),
            ("NARU_CONFIG_DIR", paths.config),
            ("NARU_CNI_CONF_DIR", paths.cni_conf),
            ("NARU_CNI_BIN_DIR", paths.cni_bin),
        ]
    }

    fn conf(&self) -> Value {
        let host_local = json!({
            "type": "host-local", "subnet": SUBNET, "dataDir": self.root, "routes": [{"dst": "0.0.0.0/0"}],
        });
        let base = json!({"cniVersion": "1.0.0", "name": "bench"});
        let own = match self.plugin {
            Plugin::Naru => json!({"type": "naru-cni", "ipam": {"type": "naru-ipam", "subnet": SUBNET}}),
            Plugin::Ptp => json!({"type": "ptp", "ipam": host_local}),
            Plugin::Bridge => {
                json!({"type": "bridge", "bridge": "cni0", "isGateway": true, "ipam": host_local})
            }
        };
        let both = [base, own].into_iter().filter_map(|value| value.as_object().cloned()).flatten();
        Value::Object(both.collect())
    }

    fn fill(&self) -> anyhow::Result<()> {
        if self.used == 0 {
            return Ok(());
        }
        let subnet: ipnet::Ipv4Net = SUBNET.parse()?;
        let addresses = subnet.hosts().skip(1).take(self.used as usize).map(IpAddr::V4);
        match self.plugin {
            Plugin::Naru => {
                // The first ADD makes the store.
                self.attach_and_detach(u32::MAX)?;
                used::in_naru(&Paths::under(&self.root), subnet.into(), self.used)
            }
            Plugin::Ptp | Plugin::Bridge => used::in_host_local(&self.root.join("bench"), addresses),
        }
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        if self.plugin == Plugin::Naru
            && let Ok(naru) = dist::binary("naru")
        {
            let mut command = Command::new(naru);
            command.envs(self.environment()).args(["uninstall", "--force"]);
            let undone = tool::output(self.node.netns(), &mut command, "").and_then(tool::text);
            if let Err(error) = undone {
                eprintln!("{}: {error:#}", self.name());
            }
        }
        if let Err(error) = fs::remove_dir_all(&self.root) {
            eprintln!("{}: {error}", self.root.display());
        }
    }
}

/// How a plugin with `used` addresses in use is called in reports.
pub fn label(name: &str, used: u32) -> String {
    if used == 0 { name.to_owned() } else { format!("{name}, {used} in use") }
}
