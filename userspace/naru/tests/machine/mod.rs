//! A machine of its own for a test: a network namespace with an uplink, and directories. Both go when it is dropped.

#![allow(dead_code, reason = "every test binary uses a part of it")]

pub mod pod;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

/// The cluster that most tests begin with: this machine and one other node, behind a tunnel although on the same link.
pub const CLUSTER: &str = r#"ranges = ["10.32.0.0/12", "fd10:32::/48"]
routing = "tunnel"

[[node]]
name = "node1"
addresses = ["198.51.100.1", "2001:db8::1"]
blocks = ["10.32.0.0/24", "fd10:32::/112"]

[[node]]
name = "node2"
addresses = ["198.51.100.2", "2001:db8::2"]
blocks = ["10.32.1.0/24", "fd10:32::1:0/112"]
"#;

/// One more node for [`CLUSTER`].
pub const NODE3: &str = r#"
[[node]]
name = "node3"
addresses = ["198.51.100.3", "2001:db8::3"]
blocks = ["10.32.2.0/24", "fd10:32::2:0/112"]
"#;

pub struct Machine {
    name: String,
    pub root: tempfile::TempDir,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Machine {
    /// A namespace with `lo`, `up0` (198.51.100.1/24, 2001:db8::1/64, MTU 1500) and a default route of each family.
    pub fn new() -> Self {
        let name = format!("nagent{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        run(Command::new("ip").args(["netns", "add", &name]));
        let machine = Self { name, root: tempfile::tempdir().unwrap() };
        for line in [
            "link set lo up",
            "link add up0 type veth peer name far0",
            "link set up0 addrgenmode none",
            "link set far0 addrgenmode none",
            "link set up0 up",
            "link set far0 up",
            "addr add 198.51.100.1/24 dev up0",
            "addr add 2001:db8::1/64 dev up0 nodad",
            "route add default via 198.51.100.254",
            "-6 route add default via 2001:db8::fe",
        ] {
            machine.ip(line);
        }
        // A new device has no carrier until the kernel's link watch ran.
        let has_carrier = || {
            ["up0", "far0"]
                .iter()
                .all(|device| machine.ip(&format!("link show {device}")).contains("state UP"))
        };
        wait("the carrier", Duration::from_secs(60), has_carrier);
        fs::create_dir_all(machine.path("config")).unwrap();
        fs::create_dir_all(machine.path("cni/conf")).unwrap();
        machine
    }

    /// One that has [`CLUSTER`] as its cluster file.
    pub fn clustered() -> Self {
        let machine = Self::new();
        machine.write_cluster(CLUSTER);
        machine
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    /// The directory of the pinned maps, programs and links.
    pub fn pins(&self) -> PathBuf {
        self.path(&format!("run/bpf/abi{}", naru_abi::ABI_VERSION))
    }

    pub fn netns(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// Replaces the cluster file as an editor does: by rename.
    pub fn write_cluster(&self, text: &str) {
        fs::write(self.path("config/.cluster.toml.new"), text).unwrap();
        fs::rename(self.path("config/.cluster.toml.new"), self.path("config/cluster.toml")).unwrap();
    }

    /// `program` inside the namespace, with this machine's directories in its environment.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.netns().display())).arg("--").arg(program);
        command
            .env("NARU_RUN_DIR", self.path("run"))
            .env("NARU_STATE_DIR", self.path("state"))
            .env("NARU_BPF_DIR", self.path("run/bpf"))
            .env("NARU_CONFIG_DIR", self.path("config"))
            .env("NARU_CNI_CONF_DIR", self.path("cni/conf"))
            .env("NARU_CNI_BIN_DIR", self.path("cni/bin"))
            .env("NARU_NODE", "node1");
        command
    }

    pub fn naru(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_naru"));
        command.args(arguments);
        command
    }

    /// `naru` that must succeed; its standard output.
    pub fn ok(&self, arguments: &[&str]) -> String {
        run(&mut self.naru(arguments))
    }

    /// `naru` that must fail; its standard error.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let output = self.naru(arguments).output().unwrap();
        assert!(!output.status.success(), "naru {arguments:?} succeeded: {}", text(&output.stdout));
        text(&output.stderr)
    }

    /// Exit status of `naru`, and its standard output as JSON.
    pub fn json(&self, arguments: &[&str]) -> (i32, serde_json::Value) {
        let output = self.naru(arguments).arg("--json").output().unwrap();
        let parsed = serde_json::from_slice(&output.stdout);
        let value =
            parsed.unwrap_or_else(|why| panic!("naru {arguments:?}: {why}: {}", text(&output.stderr)));
        (output.status.code().unwrap(), value)
    }

    /// Exit status of `naru`, and all it says.
    pub fn outcome(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.naru(arguments).output().unwrap();
        (output.status.code().unwrap(), text(&output.stdout) + &text(&output.stderr))
    }

    /// Returns true if `naru` prints `words`, however it ends.
    pub fn says(&self, arguments: &[&str], words: &str) -> bool {
        text(&self.naru(arguments).output().unwrap().stdout).contains(words)
    }

    /// `ip <line>` inside the namespace.
    pub fn ip(&self, line: &str) -> String {
        run(Command::new("ip").args(["-n", &self.name]).args(line.split_whitespace()))
    }

    /// A tool inside the namespace; its standard output.
    pub fn tool(&self, line: &str) -> String {
        let mut words = line.split_whitespace();
        run(self.command(words.next().unwrap()).args(words))
    }

    /// The same of a tool that may fail.
    pub fn outcome_of(&self, line: &str) -> String {
        let mut words = line.split_whitespace();
        text(&self.command(words.next().unwrap()).args(words).output().unwrap().stdout)
    }

    /// The agent, killed when dropped; ready when it says that the node is.
    pub fn agent(&self) -> Agent {
        self.agent_every(3600)
    }

    /// The same with a pass over everything after so many seconds.
    pub fn agent_every(&self, seconds: u32) -> Agent {
        self.agent_with(&["--interval", &seconds.to_string()])
    }

    /// The same with these arguments.
    pub fn agent_with(&self, arguments: &[&str]) -> Agent {
        let log = fs::File::create(self.path("agent.log")).unwrap();
        let mut command = self.naru(&["agent"]);
        command.args(arguments);
        let child = command.env("NARU_LOG", "debug").stderr(Stdio::from(log)).spawn().unwrap();
        let agent = Agent { child };
        wait("the agent to follow", Duration::from_secs(60), || self.agent_log().contains("following "));
        agent
    }

    pub fn agent_log(&self) -> String {
        fs::read_to_string(self.path("agent.log")).unwrap()
    }

    /// Prefixes of `ROUTES`, in order, with their kind.
    pub fn entries(&self) -> Vec<String> {
        let entries: serde_json::Value = serde_json::from_str(&self.ok(&["routes", "--json"])).unwrap();
        let entries = entries.as_array().unwrap().iter();
        entries.map(|entry| format!("{} {}", text_of(&entry["prefix"]), text_of(&entry["kind"]))).collect()
    }

    /// Our kernel routes of all tables and both families, as `ip` shows them, in order.
    pub fn kernel_routes(&self) -> Vec<String> {
        let both =
            self.ip("-4 route show table all proto 150") + &self.ip("-6 route show table all proto 150");
        let mut lines: Vec<String> = both.lines().map(|line| line.trim().to_owned()).collect();
        lines.sort();
        lines
    }

    /// Everything about the machine that init may touch.
    pub fn snapshot(&self) -> Vec<(&'static str, String)> {
        // The kernel prints pinned maps as text; the programs' counters go on, with packets of the kernel's own.
        let counted = |line: &&str| !line.starts_with("\tcpu");
        let files = |below: &str| -> String {
            tree(&self.path(below)).lines().filter(counted).map(|line| format!("{line}\n")).collect()
        };
        vec![
            ("links", self.ip("-o link show")),
            ("addresses", self.ip("-o addr show")),
            ("routes", self.ip("route show table all")),
            ("ipv6 routes", self.ip("-6 route show table all")),
            ("rules", self.ip("rule show") + &self.ip("-6 rule show")),
            ("neighbours", self.ip("neigh show nud permanent")),
            ("qdiscs", self.tool("tc qdisc show")),
            ("nftables", self.tool("nft list ruleset")),
            ("sysctls", self.sysctls()),
            ("mounts", mounts(self.root.path())),
            ("files", files("")),
        ]
    }

    /// The filters of every device, and the programs behind every pinned link.
    pub fn attached(&self) -> String {
        let names = self.ip("-br link show");
        let devices = names.lines().filter_map(|line| line.split([' ', '@']).next());
        let filters = devices.flat_map(|device| {
            ["ingress", "egress"].map(|at| self.outcome_of(&format!("tc filter show dev {device} {at}")))
        });
        let links = fs::read_dir(self.pins().join("links")).into_iter().flatten().flatten();
        let behind =
            links.map(|link| self.outcome_of(&format!("bpftool link show pinned {}", link.path().display())));
        filters.chain(behind).collect()
    }

    /// Values of the namespace's writable network sysctls, except those that count time or packets.
    fn sysctls(&self) -> String {
        let all = self.tool("sysctl -a --pattern ^net[.]ipv[46]");
        let is_stable = |line: &&str| !line.contains("stable_secret") && !line.contains("netdev_rss_key");
        all.lines().filter(is_stable).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if thread::panicking() {
            // The reason for which the agent did not do what a test waited for.
            eprintln!("the agent's log:\n{}", fs::read_to_string(self.path("agent.log")).unwrap_or_default());
        }
        let bpf = self.path("run/bpf");
        if mounts(self.root.path()).contains("bpf") {
            let _ = Command::new("umount").arg(&bpf).status();
        }
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// A running agent.
pub struct Agent {
    child: Child,
}

impl Agent {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; whether it ended well.
    pub fn terminate(mut self) -> bool {
        run(Command::new("kill").arg(self.child.id().to_string()));
        self.child.wait().unwrap().success()
    }

    /// CPU time used so far, to the hundredth of a second.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    /// Resident memory in bytes. A debug binary is fifteen times the size of a release binary, so its own pages are
    /// left out of the sum there.
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let field = if cfg!(debug_assertions) { "RssAnon:" } else { "VmRSS:" };
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `condition` holds; returns how long that took.
pub fn wait(what: &str, limit: Duration, condition: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "waited {limit:?} for {what}");
        thread::sleep(Duration::from_millis(10));
    }
    start.elapsed()
}

/// Runs a command that must succeed; its standard output.
pub fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {}", text(&stderr));
    text(&stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn text_of(value: &serde_json::Value) -> &str {
    value.as_str().unwrap()
}

fn mounts(below: &Path) -> String {
    let all = fs::read_to_string("/proc/self/mounts").unwrap();
    let own = all.lines().filter(|line| line.contains(&below.display().to_string()));
    own.collect::<Vec<_>>().join("\n")
}

/// Every file and directory below, with its content where it is text.
fn tree(directory: &Path) -> String {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let lines = paths.iter().map(|path| match path.is_dir() {
        true => format!("{}/\n{}", path.display(), tree(path)),
        false => format!("{}: {}\n", path.display(), fs::read_to_string(path).unwrap_or_default()),
    });
    lines.collect()
}
