//! podman with its CNI backend on a node of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use serde_json::Value;

use super::{
    image, install_plugins, leftovers,
    pod::{Pod, Told},
};
use crate::{cni, lab::Node, tool};

/// podman's files and settings on a node; they and its containers are removed when this is dropped.
#[derive(Debug)]
pub struct Podman {
    node: Node,
    directory: PathBuf,
    /// Name of the cgroup of its containers.
    cgroup: String,
    /// Name of naru's network.
    network: String,
    /// Namespaces it made.
    namespaces: Vec<PathBuf>,
}

impl Podman {
    /// Sets podman up on `node` of the lab `lab`, with the image in it.
    ///
    /// # Errors
    /// podman fails.
    pub fn start(lab: &str, node: Node) -> anyhow::Result<Self> {
        install_plugins(&node)?;
        let network =
            cni::conf(&node, &Value::Object(serde_json::Map::new()))?["name"].as_str().map(str::to_owned);
        let network = network.context("the conflist has no name")?;
        let name = format!("{lab}-{}-podman", node.name);
        let directory = Path::new("/run").join(&name);
        let podman = Self { node, directory, cgroup: name, network, namespaces: Vec::new() };
        fs::create_dir(&podman.directory).with_context(|| podman.directory.display().to_string())?;
        fs::write(podman.settings(), podman.config()).context("write containers.conf")?;
        fs::write(podman.storage(), podman.storage_config()).context("write storage.conf")?;
        let archive = image::archive(&podman.directory)?;
        podman.run(&["load", "--quiet", "--input", &archive.to_string_lossy()])?;
        Ok(podman)
    }

    /// Runs a container.
    ///
    /// # Errors
    /// An error of podman.
    pub fn run_pod(&mut self, name: &str) -> anyhow::Result<Pod> {
        let parent = format!("/{}", self.cgroup);
        let id = self.run(&[
            "run",
            "--detach",
            "--name",
            name,
            "--network",
            &self.network,
            "--cgroup-parent",
            &parent,
            "--cap-add",
            "NET_RAW",
            image::NAME,
        ])?;
        let told = self.look_at(name)?;
        self.namespaces.push(told.netns.clone());
        let id = id.trim().to_owned();
        Ok(Pod::new(name, id.clone(), id, told))
    }

    fn look_at(&self, name: &str) -> anyhow::Result<Told> {
        let list: Value =
            serde_json::from_str(&self.run(&["inspect", name])?).context("read podman inspect")?;
        let settings = &list[0]["NetworkSettings"];
        let text = |value: &Value| value.as_str().map(str::to_owned).context("podman inspect: no text");
        let network = &settings["Networks"][&self.network];
        let addresses = ["IPAddress", "GlobalIPv6Address"].map(|key| text(&network[key]));
        let addresses = addresses.into_iter().map(|address| Ok(address?.parse()?));
        let pid = list[0]["State"]["Pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        Ok(Told {
            netns: text(&settings["SandboxKey"])?.into(),
            addresses: addresses.collect::<anyhow::Result<_>>().with_context(|| settings.to_string())?,
            pid: pid.context("podman inspect: no pid")?,
        })
    }

    /// Runs `line` in the pod's container by its shell and returns its output.
    ///
    /// # Errors
    /// The command fails; the error has its output.
    pub fn exec(&self, pod: &Pod, line: &str) -> anyhow::Result<String> {
        self.run(&["exec", &pod.container, "sh", "-c", line])
    }

    /// Calls `podman rm -f`.
    ///
    /// # Errors
    /// An error of podman.
    pub fn remove_pod(&self, pod: &Pod) -> anyhow::Result<()> {
        self.run(&["rm", "--force", "--time", "0", &pod.container]).map(drop)
    }

    fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new("podman");
        command.args(arguments).envs(self.node.environment()).env("CONTAINERS_CONF", self.settings());
        command.env("CONTAINERS_STORAGE_CONF", self.storage());
        tool::output(&self.node.open()?, &mut command, "")
            .and_then(tool::text)
            .with_context(|| format!("podman of {}: {}", self.node.name, arguments.join(" ")))
    }

    fn settings(&self) -> PathBuf {
        self.directory.join("containers.conf")
    }

    fn storage(&self) -> PathBuf {
        self.directory.join("storage.conf")
    }

    fn storage_config(&self) -> String {
        let directory = self.directory.display();
        format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = \"{directory}/root\"\nrunroot = \"{directory}/run\"\n"
        )
    }

    fn config(&self) -> String {
        let directory = self.directory.display();
        let cni = self.node.root.join("cni");
        let cni = cni.display();
        // Without CAP_SYS_RESOURCE limits cannot be raised; crun refuses cgroups of both versions, runc does not.
        format!(
            r#"[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[network]
network_backend = "cni"
cni_plugin_dirs = ["{cni}/bin"]
network_config_dir = "{cni}/conf"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
runtime = "runc"
tmp_dir = "{directory}/tmp"
"#
        )
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        if let Err(error) = self.run(&["rm", "--all", "--force", "--time", "0"]) {
            eprintln!("{error:#}");
        }
        leftovers::kill_processes(&self.directory);
        leftovers::unmount_all(&self.directory);
        self.namespaces.iter().for_each(|path| leftovers::remove_netns(path));
        leftovers::remove_cgroups(&self.cgroup);
        leftovers::remove_cgroups("libpod_parent");
        let _ = fs::remove_dir_all(&self.directory);
        // Directories that no setting changes; those that something else uses are not empty.
        for shared in ["/run/runc", "/var/lib/cni/results", "/var/lib/cni"] {
            let _ = fs::remove_dir(shared);
        }
    }
}
