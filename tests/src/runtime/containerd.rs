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

/// A containerd that runs; it, its containers and its files go when this is dropped.
#[derive(Debug)]
pub struct Containerd {
    /// The node it is on. A new boot id takes effect at the next start.
    pub node: Node,
    directory: PathBuf,
    /// Name of the cgroup of its containers.
    pub(super) cgroup: String,
    process: Option<Child>,
    /// Counts sandboxes: kubelet, too, tells a pod's next sandbox from its last by a number.
    pub(super) attempts: AtomicU64,
    /// Namespaces it made.
    pub(super) namespaces: Mutex<Vec<PathBuf>>,
}

impl Containerd {
    /// Starts one on `node` of the lab `lab`, with the image in it.
    ///
    /// # Errors
    /// It does not get ready.
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

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.join("sock")
    }

    /// Kills it; its containers go on.
    ///
    /// # Errors
    /// It was not running.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let mut process = self.process.take().context("containerd does not run")?;
        process.kill().context("kill containerd")?;
        process.wait().context("wait for containerd").map(drop)
    }

    /// Starts it after [`Containerd::kill`] or [`Containerd::power_off`], and waits until it is ready.
    ///
    /// # Errors
    /// It does not get ready: with its log.
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

    /// Everything ends as when power is cut: containerd, its shims, containers and namespaces; of its files
    /// those stay that are on disk.
    ///
    /// # Errors
    /// It was not running.
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

    /// Sockets of shims, which lie in a directory that no setting moves.
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
        // Without CAP_SYS_RESOURCE nobody's OOM score can be lowered.
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
        // Directories that no setting moves; those that something else uses are not empty.
        for shared in ["/run/containerd/s", "/run/containerd", "/var/lib/cni/results", "/var/lib/cni"] {
            let _ = fs::remove_dir(shared);
        }
    }
}
