//! A node: a mount, network and UTS namespace with files of its own, in which containerd, kubelet and kube-proxy run
//! as on a machine.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, bail};
use naru_controlplane::{ControlPlane, Process};
use rustix::process::{Pid, Signal, kill_process};

use super::{Shape, addons, cgroup, images, network, write};
use crate::{runtime::leftovers, tool};

/// Time for containerd to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Socket of containerd, within the node.
const SOCKET: &str = "/run/containerd/containerd.sock";

/// The namespace, directory, cgroup and addresses of a node.
pub struct Place {
    name: String,
    netns: PathBuf,
    directory: PathBuf,
    cgroup: String,
    addresses: String,
}

/// A node at work.
pub struct Node {
    place: Place,
    holder: Process,
    processes: Vec<(&'static str, Process)>,
}

impl Place {
    pub fn new(shape: &Shape, number: u8) -> Self {
        let name = format!("node{number}");
        Self {
            netns: network::path(&network::node(&shape.name, number)),
            directory: shape.directory.join(&name),
            cgroup: format!("{}-{name}", shape.name),
            addresses: addresses(&shape.pods, number),
            name,
        }
    }

    /// The script that makes the node's file tree and stays.
    fn script(&self) -> String {
        let directory = self.directory.display();
        format!(
            r#"set -eu
mount --make-rprivate /
hostname {name}
for tree in etc opt; do
  mount -t overlay overlay -o lowerdir=/$tree,upperdir={directory}/$tree,workdir={directory}/$tree.work /$tree
done
mount --bind {directory}/lib /var/lib
mount --bind {directory}/log /var/log
mount --rbind /sys/fs/cgroup {directory}/cgroup
mount -t sysfs sysfs /sys
mount --rbind {directory}/cgroup /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t tmpfs tmpfs /run
# What the kubelet sets for the whole machine stays here.
for key in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops; do
  mkdir -p {directory}/sysctl/$(dirname $key)
  cat /proc/sys/$key > {directory}/sysctl/$key
  mount --bind {directory}/sysctl/$key /proc/sys/$key
done
cat /proc/sys/kernel/random/uuid > {directory}/sysctl/boot_id
mount --bind {directory}/sysctl/boot_id /proc/sys/kernel/random/boot_id
# What this machine has there is not the node's; what the node got before a reboot is.
if [ ! -e {directory}/cni ]; then
  rm -rf /etc/cni /opt/cni
  tr -d - < /proc/sys/kernel/random/uuid > /etc/machine-id
  touch {directory}/cni
fi
mkdir -p /etc/cni/net.d /opt/cni/bin /etc/containerd /run/containerd
cp {directory}/containerd.toml /etc/containerd/config.toml
mount --make-rshared /
touch {directory}/ready
exec sleep infinity
"#,
            name = self.name
        )
    }

    fn containerd(&self) -> String {
        format!(
            r#"version = 2
root = "{directory}/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.internal.v1.opt"]
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/opt/cni/bin"
conf_dir = "/etc/cni/net.d"
"#,
            directory = self.directory.display(),
            pause = images::PAUSE,
        )
    }

    fn kubelet(&self, plane: &ControlPlane, services: &str) -> anyhow::Result<String> {
        Ok(format!(
            r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupRoot: /{cgroup}
cgroupDriver: cgroupfs
enforceNodeAllocatable: []
clusterDNS: ["{dns}"]
clusterDomain: cluster.local
authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}, x509: {{clientCAFile: {authority}}}}}
authorization: {{mode: AlwaysAllow}}
containerRuntimeEndpoint: unix://{SOCKET}
failSwapOn: false
localStorageCapacityIsolation: false
oomScoreAdj: 0
tlsCertFile: {directory}/kubelet.crt
tlsPrivateKeyFile: {directory}/kubelet.key
evictionHard: {{memory.available: "0%"}}
imageGCHighThresholdPercent: 100
serializeImagePulls: false
"#,
            cgroup = self.cgroup,
            dns = addons::name_server_address(services)?,
            authority = plane.path("ca.crt").display(),
            directory = self.directory.display(),
        ))
    }

    fn proxy(&self, kubeconfig: &Path, shape: &Shape) -> String {
        format!(
            "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: {}\n\
             clientConnection: {{kubeconfig: {}}}\nhostnameOverride: {}\nclusterCIDR: \"{}\"\n\
             conntrack: {{maxPerCore: 0}}\n",
            shape.proxy,
            kubeconfig.display(),
            self.name,
            shape.pods,
        )
    }
}

impl Node {
    /// Makes the node and starts containerd on it.
    ///
    /// # Errors
    /// A file cannot be written, or containerd does not answer.
    pub fn start(place: Place, plane: &ControlPlane, shape: &Shape) -> anyhow::Result<Self> {
        let _ = fs::remove_file(place.directory.join("ready"));
        for inner in ["etc", "etc.work", "opt", "opt.work", "lib", "log", "cgroup"] {
            let path = place.directory.join(inner);
            fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        }
        let file = |name: &str| place.directory.join(name);
        write(&file("start.sh"), &place.script())?;
        write(&file("containerd.toml"), &place.containerd())?;
        write(&file("kubelet.yaml"), &place.kubelet(plane, &shape.services)?)?;
        let names: Vec<&str> =
            std::iter::once(place.name.as_str()).chain(place.addresses.split(',')).collect();
        let certificate = plane.authority().server(&names)?;
        write(&file("kubelet.crt"), &certificate.certificate)?;
        write(&file("kubelet.key"), &certificate.key)?;
        cgroup::make(&place.cgroup).with_context(|| place.cgroup.clone())?;
        let arguments =
            ["--mount", "--uts", "sh", &file("start.sh").display().to_string()].map(str::to_owned);
        let holder = Process::start(Some(&place.netns), Path::new("unshare"), &arguments, file("start.log"))?;
        let ready = file("ready");
        let plugins = shape.plugins.iter().map(|plugin| plane.programs().path(plugin));
        let mut node = Self { place, holder, processes: Vec::new() };
        if !tool::holds_within(PATIENCE, || ready.exists() || !node.holder.is_alive()) || !ready.exists() {
            bail!("its files are not made: {}", node.holder.last_words());
        }
        for plugin in plugins {
            node.run("cp", &[&plugin.display().to_string(), "/opt/cni/bin/"])?;
        }
        node.start_runtime()?;
        Ok(node)
    }

    /// Starts containerd, in the place of one that runs.
    ///
    /// # Errors
    /// It does not answer.
    pub fn start_runtime(&mut self) -> anyhow::Result<()> {
        self.processes.retain(|(name, _)| *name != "containerd");
        self.spawn("containerd", Path::new("containerd"), &[])?;
        let answers = || self.run("ctr", &["version"]).is_ok();
        if !tool::holds_within(PATIENCE, answers) {
            bail!("containerd does not answer: {}", self.last_words("containerd"));
        }
        Ok(())
    }

    /// Starts kubelet and kube-proxy.
    ///
    /// # Errors
    /// One cannot be started.
    pub fn join(&mut self, plane: &ControlPlane, shape: &Shape) -> anyhow::Result<()> {
        self.start_kubelet(plane)?;
        let kubeconfig = self::kubeconfig(plane, "kube-proxy", "system:kube-proxy", "")?;
        let config = self.place.directory.join("proxy.yaml");
        write(&config, &self.place.proxy(&kubeconfig, shape))?;
        let proxy = [format!("--config={}", config.display())];
        self.spawn("kube-proxy", &plane.programs().path("kube-proxy"), &proxy)
    }

    /// Starts the kubelet, in the place of one that runs.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_kubelet(&mut self, plane: &ControlPlane) -> anyhow::Result<()> {
        self.processes.retain(|(name, _)| *name != "kubelet");
        let name = self.place.name.clone();
        let kubeconfig = kubeconfig(plane, &name, &format!("system:node:{name}"), "system:nodes")?;
        let kubelet = [
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--config={}/kubelet.yaml", self.place.directory.display()),
            format!("--hostname-override={name}"),
            format!("--node-ip={}", self.place.addresses),
        ];
        self.spawn("kubelet", &plane.programs().path("kubelet"), &kubelet)
    }

    /// The node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.place.name
    }

    /// The place of a path of the node in this machine's file tree, where the node's own tree has it.
    #[must_use]
    pub fn file(&self, path: &str) -> PathBuf {
        format!("/proc/{}/root{path}", self.holder.id()).into()
    }

    /// Imports the archive of an image.
    ///
    /// # Errors
    /// containerd refuses it.
    pub fn import(&self, archive: &Path) -> anyhow::Result<()> {
        let archive = archive.display().to_string();
        self.run("ctr", &["--namespace", "k8s.io", "images", "import", &archive]).map(drop)
    }

    /// Runs a program on the node and returns what it prints.
    ///
    /// # Errors
    /// It fails; the error has its output.
    pub fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.command(Path::new(program)).args(arguments).output();
        let output = output.with_context(|| format!("{}: {program}", self.place.name))?;
        tool::text(output).with_context(|| format!("{}: {program} {}", self.place.name, arguments.join(" ")))
    }

    /// A program on the node.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.args(self.entry()).arg(program);
        command
    }

    /// The last lines of a process of the node.
    #[must_use]
    pub fn last_words(&self, name: &str) -> String {
        let process = self.processes.iter().find(|(known, _)| *known == name);
        process.map(|(_, process)| process.last_words()).unwrap_or_default()
    }

    /// The peak of the memory group of naru's agent on this node, in bytes; maps are counted there.
    ///
    /// # Errors
    /// There is no such group.
    pub fn agent_peak(&self) -> anyhow::Result<u64> {
        let is_agent = |pid: &&i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.starts_with(b"/naru\0agent\0")
        };
        let members = cgroup::members(&self.place.cgroup);
        let agent = members.iter().find(is_agent).context("no agent runs")?;
        cgroup::memory_peak(*agent)
    }

    fn entry(&self) -> [String; 6] {
        let holder = self.holder.id().to_string();
        ["--target", &holder, "--mount", "--uts", "--net", "--"].map(str::to_owned)
    }

    fn spawn(&mut self, name: &'static str, program: &Path, arguments: &[String]) -> anyhow::Result<()> {
        let program = program.display().to_string();
        let all: Vec<String> =
            self.entry().into_iter().chain([program]).chain(arguments.iter().cloned()).collect();
        let log = self.place.directory.join(format!("{name}.log"));
        self.processes.push((name, Process::start(None, Path::new("nsenter"), &all, log)?));
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.processes.clear();
        let inside = format!("/proc/{}/ns/mnt", self.holder.id());
        end(&self.place.cgroup, fs::read_link(inside).ok().as_deref());
    }
}

/// Removes what an earlier cluster of this name left when it was killed.
pub fn remove_leftovers(shape: &Shape) -> anyhow::Result<()> {
    for number in 1..=shape.nodes {
        end(&Place::new(shape, number).cgroup, None);
    }
    match fs::remove_dir_all(&shape.directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| shape.directory.display().to_string())
        }
        _ => Ok(()),
    }
}

/// Ends the containers, and the shims, which are in the node's mount namespace and outlive containerd.
fn end(cgroup: &str, mounts: Option<&Path>) {
    let kill = || {
        let shims = mounts.map(processes_in).unwrap_or_default();
        let all: Vec<i32> = cgroup::members(cgroup).into_iter().chain(shims).collect();
        for pid in all.iter().filter_map(|pid| Pid::from_raw(*pid)) {
            let _ = kill_process(pid, Signal::KILL);
        }
        all.is_empty()
    };
    tool::holds_within(Duration::from_secs(10), kill);
    leftovers::remove_cgroups(cgroup);
}

/// Processes of a mount namespace, of which the holder's is one.
fn processes_in(namespace: &Path) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let found = fs::read_link(format!("/proc/{pid}/ns/mnt"));
        let holds =
            fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"sleep\0infinity"));
        found.is_ok_and(|found| found == namespace) && !holds
    })
    .collect()
}

/// Writes a kubeconfig for a component of that name and group, and returns its path.
pub fn kubeconfig(plane: &ControlPlane, file: &str, name: &str, group: &str) -> anyhow::Result<PathBuf> {
    let client = plane.authority().client(name, group)?;
    let (certificate, key) = (plane.path(&format!("{file}.crt")), plane.path(&format!("{file}.key")));
    write(&certificate, &client.certificate)?;
    write(&key, &client.key)?;
    let server = plane.servers().first().context("no API server")?.address();
    let path = plane.path(&format!("{file}.kubeconfig"));
    write(&path, &text(server, &plane.path("ca.crt"), &certificate, &key))?;
    Ok(path)
}

fn text(server: SocketAddr, authority: &Path, certificate: &Path, key: &Path) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters:\n- name: c\n  cluster: {{server: \"https://{server}\", certificate-authority: {}}}\n\
         contexts:\n- name: c\n  context: {{cluster: c, user: u}}\n\
         users:\n- name: u\n  user: {{client-certificate: {}, client-key: {}}}\n",
        authority.display(),
        certificate.display(),
        key.display(),
    )
}

/// The node's addresses, in the families and the order of the pods' ranges.
fn addresses(pods: &str, number: u8) -> String {
    pods.split(',').map(|range| network::address(number, range.contains(':'))).collect::<Vec<_>>().join(",")
}
