//! A container for a test, and the plugin's answers about it.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use super::{Machine, run};

/// A container: a network namespace that goes when it is dropped.
pub struct Pod {
    /// Container id, and name of the pod.
    pub name: String,
    /// The pod's namespace.
    pub namespace: String,
    conf: Value,
    plugins: PathBuf,
    boot_id: Option<&'static str>,
    machine_id: Option<&'static str>,
}

impl Pod {
    /// A container that is attached by a configuration with these keys beside the usual ones.
    pub fn new(machine: &Machine, name: &str, keys: Value) -> Self {
        let own = machine.netns().file_name().unwrap().to_string_lossy().into_owned();
        let mut conf = serde_json::json!({"cniVersion": "1.0.0", "name": "naru", "type": "naru-cni"});
        conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        let pod = Self {
            name: format!("{own}-{name}"),
            namespace: "default".to_owned(),
            conf,
            plugins: "/usr/lib/cni".into(),
            boot_id: None,
            machine_id: None,
        };
        run(Command::new("ip").args(["netns", "add", &pod.name]));
        pod
    }

    /// In another namespace than `default`.
    pub fn in_namespace(mut self, name: &str) -> Self {
        name.clone_into(&mut self.namespace);
        self
    }

    /// With other plugins than Debian's.
    pub fn with_plugins(mut self, directory: &Path) -> Self {
        directory.clone_into(&mut self.plugins);
        self
    }

    /// Attached in another boot of the machine.
    pub fn of_boot(mut self, boot_id: &'static str) -> Self {
        self.boot_id = Some(boot_id);
        self
    }

    /// Attached on a machine of that identity.
    pub fn of_machine(mut self, machine_id: &'static str) -> Self {
        self.machine_id = Some(machine_id);
        self
    }

    /// As the runtime knows it.
    pub fn title(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The plugin's answer to `verb`, in the machine's namespace, for the pod of that name.
    pub fn call_as(&self, machine: &Machine, verb: &str, pod: &str) -> Output {
        self.call(machine, verb, pod, &self.conf)
    }

    /// The answer to `verb` with these keys beside those of the configuration.
    pub fn call_with(&self, machine: &Machine, verb: &str, keys: &Value) -> Output {
        let mut conf = self.conf.clone();
        conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        self.call(machine, verb, &self.name, &conf)
    }

    fn call(&self, machine: &Machine, verb: &str, pod: &str, conf: &Value) -> Output {
        let mut command = machine.command(plugin());
        command
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", &self.name)
            .env("CNI_NETNS", Path::new("/run/netns").join(&self.name))
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", &self.plugins)
            .env(
                "CNI_ARGS",
                format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={pod}", self.namespace),
            )
            .envs(self.boot_id.map(|boot_id| ("NARU_BOOT_ID", boot_id)))
            .envs(self.machine_id.map(|machine_id| ("NARU_MACHINE_ID", machine_id)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(conf.to_string().as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// ADD for the pod of that name; its addresses, or code and text of the error.
    pub fn add_as(&self, machine: &Machine, pod: &str) -> Result<Vec<String>, (u64, String)> {
        let output = self.call_as(machine, "ADD", pod);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let Some(ips) = answer["ips"].as_array() else {
            return Err((answer["code"].as_u64().unwrap(), answer["msg"].as_str().unwrap().to_owned()));
        };
        let bare = |ip: &Value| ip["address"].as_str().unwrap().split('/').next().unwrap().to_owned();
        Ok(ips.iter().map(bare).collect())
    }

    /// ADD that must succeed, for the pod named as the container; its addresses.
    pub fn add(&self, machine: &Machine) -> Vec<String> {
        self.add_as(machine, &self.name).unwrap()
    }

    /// DEL that must succeed.
    pub fn del(&self, machine: &Machine) {
        assert!(self.call_as(machine, "DEL", &self.name).status.success());
    }

    /// Returns true if an address answers it.
    pub fn can_ping(&self, address: &str) -> bool {
        let mut ping = Command::new("ip");
        ping.args(["netns", "exec", &self.name, "ping", "-c1", "-W1", address]);
        ping.output().unwrap().status.success()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// The plugin that was built beside this `naru`.
fn plugin() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_naru")).with_file_name("naru-cni");
    assert!(path.exists(), "{}: build naru-plugin first", path.display());
    path
}
