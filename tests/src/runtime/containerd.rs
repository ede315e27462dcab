//! containerd with a node of its own.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use anyhow::{Context, bail};

use super::{image, install_plugins, leftovers};
use crate::{lab::Node, tool};

/// A running containerd; it, its containers and its files are removed when this is dropped.
#[derive(Debug)]
pub struct Containerd {
    /// Its node. A new boot id takes effect at the next start.
    pub node: Node,
    directory: PathBuf,
    /// Name of the cgroup of its containers.
    pub(super) cgroup: String,
    process: Option<Child>,
    /// A counter of sandboxes: kubelet, too, numbers the sandboxes of a pod.
    pub(super) attempts: AtomicU64,
    /// Namespaces it made.
    pub(super) namespaces: Mutex<Vec<PathBuf>>,
}

impl Containerd {
    /// Starts containerd on `node` of the lab `lab`, with the image in it.
    ///
    /// # Errors
    /// containerd does not become ready.
    pub fn start(lab: &str, node: Node) -> anyhow::Result<Self> {
        install_plugins(&node)?;
        let name = format!("{lab}-{}-containerd", node.name);
        let directory = Path::new("/run").join(&name);
        let mut runtime = Self {
            node,
            directory,
            cgroup: name,
            process: None,
            attempts: AtomicU64::new(0),
            namespaces: Mutex::default(),
        };
        fs::create_dir(&runtime.directory).with_context(|| runtime.directory.display().to_string())?;
        fs::write(runtime.directory.join("config.toml"), runtime.config()).context("write config.toml")?;
        runtime.launch()?;
        let archive = image::archive(&runtime.directory)?;
        let mut import = Command::new("ctr");
        import.arg("--address").arg(runtime.socket()).args(["-n", "k8s.io", "images", "import"]);
        import.args(["--snapshotter", "native"]).arg(archive);
        tool::text(import.output().context("run ctr")?).context("import the image")?;
        Ok(runtime)
    }

    /// The path of its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.join("sock")
    }

    /// Kills it; its containers continue to run.
    ///
    /// # Errors
    /// containerd was not running.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let mut process = self.process.take().context("containerd does not run")?;
        process.kill().context("kill containerd")?;
        process.wait().context("wait for containerd").map(drop)
    }

    /// Starts it after [`Containerd::kill`] or [`Containerd::power_off`], and waits until it is ready.
    ///
    /// # Errors
    /// It does not become ready; the error has its log.
    pub fn launch(&mut self) -> anyhow::Result<()> {
        let log = self.directory.join("log");
        let mut command = Command::new("containerd");
        command.arg("--config").arg(self.directory.join("config.toml")).envs(self.node.environment());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).context("create the log")?);
        let spawned = self.node.open()?.run(|| command.spawn().context("run containerd"))?;
        self.process = Some(spawned);
        if tool::holds_within(Duration::from_secs(20), || self.is_ready().unwrap_or(false)) {
            return Ok(());
        }
        let said = fs::read_to_string(&log).unwrap_or_default();
        bail!("containerd of {} does not get ready: {said}", self.node.name)
    }

    /// Ends everything as a power cut does: containerd, its shims, containers and namespaces. Files on the disk stay.
    ///
    /// # Errors
    /// containerd was not running.
    pub fn power_off(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        self.end_containers();
        fs::remove_dir_all(self.directory.join("state")).context("remove the state directory")
    }

    fn end_containers(&mut self) {
        leftovers::kill_processes(&self.directory);
        for socket in self.shim_sockets() {
            let _ = fs::remove_file(socket);
        }
        leftovers::unmount_all(&self.directory);
        for path in self.namespaces.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            leftovers::remove_netns(&path);
        }
        leftovers::remove_cgroups(&self.cgroup);
    }

    /// Sockets of shims; they are in a directory that no setting changes.
    fn shim_sockets(&self) -> Vec<PathBuf> {
        let tasks = self.directory.join("state/io.containerd.runtime.v2.task/k8s.io");
        let bundles = fs::read_dir(tasks).into_iter().flatten().flatten();
        let addresses = bundles.filter_map(|bundle| fs::read_to_string(bundle.path().join("address")).ok());
        addresses.filter_map(|address| Some(address.trim().strip_prefix("unix://")?.into())).collect()
    }

    fn config(&self) -> String {
        let directory = self.directory.display();
        let cni = self.node.root.join("cni");
        let cni = cni.display();
        // Without CAP_SYS_RESOURCE no OOM score can be lowered.
        format!(
            r#"version = 2
root = "{directory}/root"
state = "{directory}/state"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
address = "{directory}/sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{image}"
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{cni}/bin"
conf_dir = "{cni}/conf"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "runc"
Root = "{directory}/state/runc"
"#,
            image = image::NAME,
        )
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.remove_all_pods();
            let _ = self.kill();
        }
        self.end_containers();
        let _ = fs::remove_dir_all(&self.directory);
        // Directories that no setting changes; those that something else uses are not empty.
        for shared in ["/run/containerd/s", "/run/containerd", "/var/lib/cni/results", "/var/lib/cni"] {
            let _ = fs::remove_dir(shared);
        }
    }
}
