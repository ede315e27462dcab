//! The files in deploy/ do what they say, on a node that is a network namespace.

#![cfg(test)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, id},
};

use naru_e2e::{
    dist,
    netns::{Netns, Scratch},
    tool,
};
use serde_json::{Value, json};

/// A machine with one address of each family and nothing of naru yet; undone when dropped.
struct Machine {
    root: PathBuf,
    netns: Scratch,
}

impl Machine {
    fn new(name: &str) -> Self {
        let name = format!("ex{}-{name}", id());
        let machine = Self { root: Path::new("/run").join(&name), netns: Scratch::create(&name).unwrap() };
        fs::create_dir_all(&machine.root).unwrap();
        for line in [
            "ip link set lo up",
            "ip link add up0 type veth peer name far0",
            "ip address add 198.51.100.1/24 dev up0",
            "ip address add 2001:db8::1/64 dev up0 nodad",
            "ip link set up0 up",
            "ip link set far0 up",
        ] {
            tool::run(machine.netns.netns(), line).unwrap();
        }
        machine
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(dist::binary(program).unwrap());
        for (name, directory) in [
            ("NARU_RUN_DIR", "run"),
            ("NARU_STATE_DIR", "state"),
            ("NARU_BPF_DIR", "run/bpf"),
            ("NARU_CONFIG_DIR", "config"),
            ("NARU_CNI_CONF_DIR", "conf"),
            ("NARU_CNI_BIN_DIR", "bin"),
        ] {
            command.env(name, self.root.join(directory));
        }
        command
    }

    fn naru(&self, arguments: &[&str]) -> String {
        let mut command = self.command("naru");
        let output = tool::output(self.netns.netns(), command.args(arguments), "").unwrap();
        tool::text(output).unwrap()
    }

    /// Runs the first plugin of a list as a runtime does, for the pod `pod`.
    fn cni(&self, verb: &str, list: &Value, pod: &Netns) -> String {
        let mut conf = list["plugins"][0].clone();
        conf["cniVersion"] = list["cniVersion"].clone();
        conf["name"] = list["name"].clone();
        let mut command = self.command("naru-cni");
        command.env("CNI_COMMAND", verb).env("CNI_CONTAINERID", pod.name()).env("CNI_NETNS", pod.path());
        command.env("CNI_IFNAME", "eth0").env("CNI_PATH", self.root.join("bin"));
        let output = tool::output(self.netns.netns(), &mut command, &conf.to_string()).unwrap();
        tool::text(output).unwrap()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let mut command = self.command("naru");
        let undone = tool::output(self.netns.netns(), command.args(["uninstall", "--force"]), "");
        if let Err(error) = undone.and_then(tool::text) {
            eprintln!("{error:#}");
        }
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)
}

fn list(name: &str) -> Value {
    serde_json::from_slice(&fs::read(example(name)).unwrap()).unwrap()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_machine_without_anything_but_the_standalone_list_attaches_a_pod() {
    let machine = Machine::new("one");
    let pod = Scratch::create(&format!("{}-pod", machine.netns.netns().name())).unwrap();
    let list = list("standalone.conflist");
    let result: Value = serde_json::from_str(&machine.cni("ADD", &list, pod.netns())).unwrap();
    let address = result["ips"][0]["address"].as_str().unwrap().to_owned();
    assert!(address.starts_with("10.22."), "{result}");
    assert!(machine.naru(&["ipam", "list"]).contains("ASSIGNED"));
    tool::run(pod.netns(), "ping -c 1 -W 2 198.51.100.1").unwrap();
    machine.cni("DEL", &list, pod.netns());
    assert!(!machine.naru(&["ipam", "list"]).contains("ASSIGNED"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_example_cluster_is_accepted_and_its_list_gives_addresses_of_the_nodes_blocks() {
    let machine = Machine::new("cluster");
    fs::create_dir_all(machine.root.join("config")).unwrap();
    fs::copy(example("cluster.toml"), machine.root.join("config/cluster.toml")).unwrap();
    machine.naru(&["init", "--node", "node1"]);
    let pod = Scratch::create(&format!("{}-pod", machine.netns.netns().name())).unwrap();
    let result: Value =
        serde_json::from_str(&machine.cni("ADD", &list("cluster.conflist"), pod.netns())).unwrap();
    let addresses: Vec<_> =
        result["ips"].as_array().unwrap().iter().map(|ip| ip["address"].clone()).collect();
    assert!(addresses[0].as_str().unwrap().starts_with("10.32.0."), "{addresses:?}");
    assert!(addresses[1].as_str().unwrap().starts_with("fd10:32::"), "{addresses:?}");
    assert!(machine.naru(&["routes"]).contains("10.32.1.0/24"));
    machine.cni("DEL", &list("cluster.conflist"), pod.netns());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn systemd_finds_nothing_to_say_about_the_unit() {
    let text = fs::read_to_string(example("naru.service")).unwrap();
    let installed = "/usr/local/bin/naru";
    assert!(text.contains(&format!("ExecStart={installed} agent\n")), "{text}");
    let directory = Path::new("/run").join(format!("ex{}-unit", id()));
    fs::create_dir(&directory).unwrap();
    let unit = directory.join("naru.service");
    let binary = dist::binary("naru").unwrap().canonicalize().unwrap();
    fs::write(&unit, text.replace(installed, binary.to_str().unwrap())).unwrap();
    let verified = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output();
    fs::remove_dir_all(&directory).unwrap();
    let verified = verified.unwrap();
    // A key that it does not know is a warning, and no failure.
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && said.is_empty(), "{said}");
}

#[test]
fn the_examples_are_lists_that_old_and_new_runtimes_read() {
    for name in ["standalone.conflist", "cluster.conflist"] {
        let list = list(name);
        assert_eq!(list["cniVersion"], "1.0.0", "{name}: containerd 1.6 refuses 1.1.0");
        assert!(list["cniVersions"].as_array().unwrap().contains(&json!("1.1.0")), "{name}");
    }
}
