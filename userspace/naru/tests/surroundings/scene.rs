//! A machine with a neighbour that is the world, and pods of a single machine.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::machine::{Machine, run};

/// Addresses that stand for everything outside, one of each family: addresses of the neighbour behind its link.
pub const OUTSIDE: [&str; 2] = ["192.0.2.1", "2001:db8:2::1"];

/// A machine whose uplink ends at a neighbour that it has its default routes by.
pub struct Scene {
    pub machine: Machine,
    neighbour: Namespace,
}

/// A network namespace that goes with it.
pub struct Namespace(pub String);

impl Namespace {
    pub fn new(name: String) -> Self {
        run(Command::new("ip").args(["netns", "add", &name]));
        Self(name)
    }

    /// `ip <line>` inside.
    pub fn ip(&self, line: &str) -> String {
        run(Command::new("ip").args(["-n", &self.0]).args(line.split_whitespace()))
    }

    /// A tool inside that must succeed.
    fn run(&self, tool: &[&str]) -> String {
        run(Command::new("ip").args(["netns", "exec", &self.0]).args(tool))
    }

    pub fn can_ping(&self, address: &str) -> bool {
        answers(|| {
            let mut ping = Command::new("ip");
            ping.args(["netns", "exec", &self.0]).args(PING).arg(address);
            ping
        })
    }
}

const PING: [&str; 4] = ["ping", "-n", "-c1", "-W2"];

/// Returns true if one of some pings is answered.
fn answers(ping: impl Fn() -> Command) -> bool {
    (0..4).any(|attempt| {
        std::thread::sleep(Duration::from_millis(300 * attempt.min(1)));
        ping().output().unwrap().status.success()
    })
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

impl Scene {
    pub fn new() -> Self {
        let machine = Machine::new();
        let name = format!("{}-o", machine.netns().file_name().unwrap().to_string_lossy());
        let neighbour = Namespace::new(name);
        machine.ip(&format!("link set far0 netns {}", neighbour.0));
        // Every link has a link-local address (RFC 4291, section 2.1): without one Linux asks for no neighbour in the
        // name of what it forwards.
        let link_local = "net.ipv6.conf.up0.accept_dad=0 net.ipv6.conf.up0.addr_gen_mode=0";
        machine.tool(&format!("sysctl -qw {link_local}"));
        neighbour.run(&["sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0"]);
        for line in [
            "link set lo up",
            "link set far0 up",
            "addr add 198.51.100.254/24 dev far0",
            "addr add 2001:db8::fe/64 dev far0 nodad",
            "addr add 192.0.2.1/32 dev lo",
            "addr add 2001:db8:2::1/128 dev lo nodad",
        ] {
            neighbour.ip(line);
        }
        Self { machine, neighbour }
    }

    /// `ip <line>` at the neighbour.
    pub fn at_neighbour(&self, line: &str) -> String {
        self.neighbour.ip(line)
    }

    pub fn neighbour_can_ping(&self, address: &str) -> bool {
        self.neighbour.can_ping(address)
    }

    pub fn machine_can_ping(&self, address: &str) -> bool {
        answers(|| {
            let mut ping = self.machine.command(PING[0]);
            ping.args(&PING[1..]).arg(address);
            ping
        })
    }

    /// A container without an interface.
    pub fn pod(&self, name: &str) -> Namespace {
        Namespace::new(format!("{}-{name}", self.machine.netns().file_name().unwrap().to_string_lossy()))
    }

    /// ADD of `eth0` that must succeed; the addresses.
    pub fn add(&self, pod: &Namespace, conf: &Value) -> Vec<String> {
        let answer = self.call(&naru_cni(), "ADD", pod, "eth0", conf);
        addresses(&answer.unwrap_or_else(|why| panic!("{why}")))
    }

    /// A plugin's answer: its result, or what it refused with.
    pub fn call(
        &self,
        plugin: &Path,
        verb: &str,
        pod: &Namespace,
        ifname: &str,
        conf: &Value,
    ) -> Result<Value, String> {
        let mut command = self.machine.command(plugin);
        command
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", &pod.0)
            .env("CNI_NETNS", Path::new("/run/netns").join(&pod.0))
            .env("CNI_IFNAME", ifname)
            .env("CNI_PATH", "/usr/lib/cni");
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        child.stdin.take().unwrap().write_all(conf.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            return Err(said);
        }
        Ok(serde_json::from_str(&said).unwrap_or(Value::Null))
    }
}

/// The plugin that was built beside this `naru`.
pub fn naru_cni() -> std::path::PathBuf {
    Path::new(env!("CARGO_BIN_EXE_naru")).with_file_name("naru-cni")
}

/// A network of that name and number: `10.<number>.0.0/24` and `fd<number>::/112`, masqueraded.
pub fn network(name: &str, number: u8) -> Value {
    let ranges =
        json!([[{ "subnet": format!("10.{number}.0.0/24") }], [{ "subnet": format!("fd{number}::/112") }]]);
    json!({
        "cniVersion": "1.0.0", "name": name, "type": "naru-cni", "ipMasq": true,
        "ipam": { "type": "naru-ipam", "ranges": ranges, "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }] },
    })
}

/// Addresses of a result, without prefix lengths.
pub fn addresses(result: &Value) -> Vec<String> {
    let bare = |ip: &Value| ip["address"].as_str().unwrap().split('/').next().unwrap().to_owned();
    result["ips"].as_array().unwrap().iter().map(bare).collect()
}
