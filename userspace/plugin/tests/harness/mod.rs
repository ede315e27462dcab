//! One node in a network namespace of its own, with directories and a bpffs of its own, driven by the real binary.

#![allow(dead_code, reason = "every test binary uses its own part")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed")]

/// The plugin as `naru-ipam`.
pub mod ipam;

use naru_netlink::netns;
use naru_node::machine::MARKS;
use std::{
    fs::File,
    io::Write,
    net::IpAddr,
    os::{fd::AsFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio, id},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use naru_netlink::links::{Links, Route};
use naru_store::StateStore;

use naru_bpf::{Interfaces, Pods};
use naru_core::{
    ipam::State,
    reconcile::{Pass, Policy},
};
use naru_node::{
    endpoint::{Maps, Tools, reconcile},
    machine::NodeFacts,
    paths::Paths,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};

/// The binary under test.
pub const PLUGIN: &str = env!("CARGO_BIN_EXE_naru-cni");
/// The node's own addresses.
pub const NODE: [&str; 2] = ["192.0.2.1", "2001:db8:77::1"];

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// A named network namespace that goes with its guard.
pub struct Netns {
    pub name: String,
}

impl Netns {
    pub fn new(role: &str) -> Self {
        let name = format!("naru-t{}-{}-{role}", id(), COUNT.fetch_add(1, Ordering::Relaxed));
        run("ip", &["netns", "add", &name]);
        Self { name }
    }

    pub fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// A command that runs inside the network namespace; the mount namespace stays the same.
    pub fn command(&self, program: &str) -> Command {
        let file = File::open(self.path()).expect("the namespace is there");
        let mut command = Command::new(program);
        let enter = move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).map_err(Into::into)
        };
        // SAFETY: between fork and exec only setns(2) is called.
        unsafe { command.pre_exec(enter) };
        command
    }

    /// Runs a command inside; returns true if it succeeded.
    pub fn succeeds(&self, program: &str, args: &[&str]) -> bool {
        let output = self.command(program).args(args).stdin(Stdio::null()).output().unwrap();
        output.status.success()
    }

    /// Runs a command inside, which must succeed, and returns its output.
    pub fn run(&self, program: &str, args: &[&str]) -> String {
        finish(program, args, self.command(program).args(args).stdin(Stdio::null()).output().unwrap())
    }

    /// `ip -json` inside.
    pub fn ip(&self, args: &[&str]) -> Value {
        let text = self.run("ip", &[&["-json"], args].concat());
        if text.trim().is_empty() { json!([]) } else { serde_json::from_str(&text).unwrap() }
    }

    pub fn can_ping(&self, address: &str) -> bool {
        self.succeeds("ping", &["-n", "-c", "1", "-W", "2", address])
    }

    /// Runs `work` in a thread inside.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let netns = netns::open_netns(&self.path()).unwrap();
        netns::in_netns(netns.as_fd(), work).unwrap()
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).stderr(Stdio::null()).status();
    }
}

pub fn run(program: &str, args: &[&str]) -> String {
    finish(program, args, Command::new(program).args(args).stdin(Stdio::null()).output().unwrap())
}

fn finish(program: &str, args: &[&str], output: Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {error}", args.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

/// The plugin's reply.
#[derive(Debug)]
pub struct Said {
    pub success: bool,
    pub signal: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    fn new(output: Output) -> Self {
        Self {
            success: output.status.success(),
            signal: output.status.code().is_none(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The result of a call that must have succeeded.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!(self.success, "the plugin failed: {}{}", self.stdout, self.stderr);
        if self.stdout.is_empty() { Value::Null } else { serde_json::from_str(&self.stdout).unwrap() }
    }

    /// Code and message of a call that must have failed.
    #[track_caller]
    pub fn error(self) -> (u64, String) {
        assert!(!self.success, "the plugin succeeded: {}", self.stdout);
        let error: Value = serde_json::from_str(&self.stdout).expect("an error object on stdout");
        assert!(error["cniVersion"].is_string(), "{error}");
        (error["code"].as_u64().unwrap(), error["msg"].as_str().unwrap().to_owned())
    }
}

/// Calls the plugin in the caller's own network namespace.
pub fn call(program: &str, environment: &[(&str, &str)], stdin: &[u8]) -> Said {
    speak(Command::new(program), environment, stdin)
}

/// Calls a plugin by a command that may run anywhere.
pub fn speak(command: Command, environment: &[(&str, &str)], stdin: &[u8]) -> Said {
    speak_for(None, command, environment, stdin)
}

/// Calls a plugin by a command and kills it after a time.
pub fn speak_for(
    life: Option<Duration>,
    mut command: Command,
    environment: &[(&str, &str)],
    stdin: &[u8],
) -> Said {
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.envs(environment.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A plugin that was killed does not read its standard input.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    if let Some(life) = life {
        thread::sleep(life);
        child.kill().unwrap();
    }
    Said::new(child.wait_with_output().unwrap())
}

/// A node without a cluster.
pub struct Node {
    pub netns: Netns,
    pub paths: Paths,
    pub boot: String,
    root: tempfile::TempDir,
}

impl Node {
    pub fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "needs root: cargo xtask test");
        let root = tempfile::Builder::new().prefix("naru-plugin-").tempdir().unwrap();
        let netns = Netns::new("node");
        netns.run("ip", &["link", "set", "lo", "up"]);
        netns.run("ip", &["link", "add", "up0", "type", "bridge"]);
        netns.run("ip", &["address", "add", &format!("{}/24", NODE[0]), "dev", "up0"]);
        netns.run("ip", &["address", "add", &format!("{}/64", NODE[1]), "dev", "up0", "nodad"]);
        netns.run("ip", &["link", "set", "up0", "up"]);
        let paths = Paths { bpf: root.path().join("bpf"), ..Paths::under(root.path()) };
        Self { netns, paths, boot: "boot-1".to_owned(), root }
    }

    /// The network configuration, dual stack, of its own small subnets.
    pub fn conf(&self) -> Value {
        let naru = json!({
            "runDir": self.paths.run, "stateDir": self.paths.state,
            "bpfDir": self.paths.bpf, "configDir": self.paths.config,
        });
        json!({
            "cniVersion": "1.0.0", "name": "test", "type": "naru-cni", "naru": naru,
            "ipam": { "ranges": [[{ "subnet": "10.77.0.0/24" }], [{ "subnet": "fd77::/112" }]] },
        })
    }

    /// Calls the plugin on the node with more variables.
    pub fn call_with(
        &self,
        verb: &str,
        container: &str,
        netns: &str,
        conf: &Value,
        more: &[(&str, &str)],
    ) -> Said {
        let environment = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", container),
            ("CNI_IFNAME", "eth0"),
            ("CNI_NETNS", netns),
            ("CNI_PATH", "/opt/cni/bin"),
            ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0"),
            ("NARU_BOOT_ID", &self.boot),
        ];
        let environment = [&environment[..], more].concat();
        speak(self.netns.command(PLUGIN), &environment, conf.to_string().as_bytes())
    }

    pub fn call(&self, verb: &str, container: &str, netns: &str, conf: &Value) -> Said {
        self.call_with(verb, container, netns, conf, &[])
    }

    pub fn add(&self, container: &str, pod: &Netns) -> Said {
        self.call("ADD", container, pod.path().to_str().unwrap(), &self.conf())
    }

    pub fn del(&self, container: &str) -> Said {
        self.call("DEL", container, "", &self.conf())
    }

    /// Names of the host veths of naru.
    pub fn veths(&self) -> Vec<String> {
        let links = self.netns.ip(&["link", "show", "type", "veth"]);
        links.as_array().unwrap().iter().map(|link| link["ifname"].as_str().unwrap().to_owned()).collect()
    }

    /// Addresses in `PODS`.
    pub fn entries(&self) -> Vec<IpAddr> {
        let entries = Pods::open(&self.paths.pins()).unwrap().entries().unwrap();
        let mut all: Vec<IpAddr> = entries.into_iter().map(|(address, _)| address.into()).collect();
        all.sort_unstable();
        all
    }

    /// Interfaces that have settings or counters in the maps.
    pub fn entered(&self) -> Vec<u32> {
        Interfaces::open(&self.paths.pins()).unwrap().list().unwrap()
    }

    /// Addresses that attachments hold in the store.
    pub fn held(&self) -> Vec<IpAddr> {
        self.addresses_in(State::Assigned)
    }

    /// Addresses that attachments gave back and that are given to nobody for a while.
    pub fn cooling(&self) -> Vec<IpAddr> {
        self.addresses_in(State::Cooling)
    }

    fn addresses_in(&self, state: State) -> Vec<IpAddr> {
        let rows = self.store().rows().unwrap();
        let mut all: Vec<IpAddr> =
            rows.into_iter().filter(|row| row.state == state).map(|row| row.address).collect();
        all.sort_unstable();
        all
    }

    /// Addresses to which kernel routes of naru lead.
    pub fn routed(&self) -> Vec<IpAddr> {
        let routes = self.netns.inside(|| Links::open(MARKS).unwrap().routes().unwrap());
        let single = |route: &Route| route.destination.prefix_len() == route.destination.max_prefix_len();
        routes.into_iter().filter(single).map(|route| route.destination.addr()).collect()
    }

    pub fn store(&self) -> StateStore {
        StateStore::open(&self.paths.lease_store(), &self.boot).unwrap()
    }

    /// Everything for a pass of the reconciler; to be called inside the node's namespace.
    pub fn tools(&self) -> Tools {
        Tools {
            links: Links::open(MARKS).unwrap(),
            store: self.store(),
            maps: Maps::open(self.paths.pins()).unwrap(),
        }
    }

    /// Runs passes of the reconciler, without a least time between them, until nothing is left but the given counts
    /// (veths, entries, held addresses), and the maps have only the veths' interfaces. The kernel removes a namespace
    /// in its own time.
    #[track_caller]
    pub fn reconcile_until(&self, counts: (usize, usize, usize)) {
        let facts = NodeFacts::load(&self.paths).unwrap().unwrap();
        let mut memory = Pass::default();
        let start = u64::MAX / 2;
        for round in 0..100 {
            memory = self.netns.inside(|| {
                let policy = Policy { gap: 0, unconfirmed_age: 0, prepared_age: 0 };
                let (report, next) =
                    reconcile::pass(&mut self.tools(), &facts, policy, &memory, start + round).unwrap();
                assert!(report.failed.is_empty(), "{:?}", report.failed);
                next
            });
            let left = (self.veths().len(), self.entries().len(), self.held().len());
            if left == counts && self.entered().len() == counts.0 {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("left: {:?} {:?} {:?} {:?}", self.veths(), self.entries(), self.held(), self.entered());
    }

    /// Checks that nothing of any attachment is left on the node.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert_eq!(self.veths(), [] as [&str; 0], "veths");
        assert_eq!(self.entries(), [] as [IpAddr; 0], "entries of PODS");
        assert_eq!(self.entered(), [] as [u32; 0], "interfaces in the maps");
        assert_eq!(self.held(), [] as [IpAddr; 0], "held addresses");
    }

    /// Unmounts the bpffs, as a reboot does.
    pub fn unmount(&self) {
        let _ = Command::new("umount")
            .args(["-l", self.paths.bpf.to_str().unwrap()])
            .stderr(Stdio::null())
            .status();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.unmount();
    }
}

/// Addresses of a result in the shape of 1.0.0, without prefix lengths.
pub fn addresses(result: &Value) -> Vec<String> {
    let ips = result["ips"].as_array().expect("ips in the result");
    ips.iter().map(|ip| ip["address"].as_str().unwrap().split('/').next().unwrap().to_owned()).collect()
}
