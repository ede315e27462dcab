//! The node's directories and files. Every directory can be set, so that several nodes share one machine.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use naru_abi::ABI_VERSION;
use naru_bpf::Pins;

/// The directories of one node, all absolute or relative to the working directory as they were given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Paths {
    /// State that dies with the kernel: leases and the init lock (`/run/naru`).
    pub run: PathBuf,
    /// State that survives a reboot: identity, blocks, the undo journal (`/var/lib/naru`).
    pub state: PathBuf,
    /// A directory on a bpffs, parent of the pins (`<run>/bpf`).
    pub bpf: PathBuf,
    /// The administrator's files (`/etc/naru`).
    pub config: PathBuf,
    /// The directory in which the container runtime looks for network configurations (`/etc/cni/net.d`).
    pub cni_conf: PathBuf,
    /// The directory in which the container runtime looks for plugins (`/opt/cni/bin`).
    pub cni_bin: PathBuf,
}

/// Directories as given by flags or by the `naru` object of a network configuration; they win over the environment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GivenPaths {
    /// `--run-dir`, `runDir`, `NARU_RUN_DIR`.
    pub run: Option<PathBuf>,
    /// `--state-dir`, `stateDir`, `NARU_STATE_DIR`.
    pub state: Option<PathBuf>,
    /// `--bpf-dir`, `bpfDir`, `NARU_BPF_DIR`.
    pub bpf: Option<PathBuf>,
    /// `--config-dir`, `configDir`, `NARU_CONFIG_DIR`.
    pub config: Option<PathBuf>,
    /// `--cni-conf-dir`, `NARU_CNI_CONF_DIR`.
    pub cni_conf: Option<PathBuf>,
    /// `--cni-bin-dir`, `NARU_CNI_BIN_DIR`.
    pub cni_bin: Option<PathBuf>,
}

impl Paths {
    /// The directories for `given`, then the process's environment, then the defaults.
    #[must_use]
    pub fn new(given: GivenPaths) -> Self {
        Self::resolve(given, |name| std::env::var_os(name))
    }

    /// [`Paths::new`] over any environment.
    pub fn resolve(given: GivenPaths, environment: impl Fn(&str) -> Option<OsString>) -> Self {
        let choose = |given: Option<PathBuf>, variable: &str, default: &dyn Fn() -> PathBuf| {
            let environment = || environment(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
            given.or_else(environment).unwrap_or_else(default)
        };
        let run = choose(given.run, "NARU_RUN_DIR", &|| "/run/naru".into());
        Self {
            bpf: choose(given.bpf, "NARU_BPF_DIR", &|| run.join("bpf")),
            state: choose(given.state, "NARU_STATE_DIR", &|| "/var/lib/naru".into()),
            config: choose(given.config, "NARU_CONFIG_DIR", &|| "/etc/naru".into()),
            cni_conf: choose(given.cni_conf, "NARU_CNI_CONF_DIR", &|| "/etc/cni/net.d".into()),
            cni_bin: choose(given.cni_bin, "NARU_CNI_BIN_DIR", &|| "/opt/cni/bin".into()),
            run,
        }
    }

    /// All directories below `root`, as the lab and the tests lay them out.
    #[must_use]
    pub fn under(root: &Path) -> Self {
        Self {
            run: root.join("run"),
            state: root.join("state"),
            bpf: root.join("run/bpf"),
            config: root.join("config"),
            cni_conf: root.join("cni/conf"),
            cni_bin: root.join("cni/bin"),
        }
    }

    /// The store of leases, boot-scoped: `<run>/state.db`.
    #[must_use]
    pub fn lease_store(&self) -> PathBuf {
        self.run.join("state.db")
    }

    /// The lock that serialises init: `<run>/lock`.
    #[must_use]
    pub fn init_lock(&self) -> PathBuf {
        self.run.join("lock")
    }

    /// Held by the agent while it runs: `<run>/agent.lock`.
    #[must_use]
    pub fn agent_lock(&self) -> PathBuf {
        self.run.join("agent.lock")
    }

    /// The socket on which the agent reports its state: `<run>/agent.sock`.
    #[must_use]
    pub fn agent_socket(&self) -> PathBuf {
        self.run.join("agent.sock")
    }

    /// The lock that processes share that work on attachments, and that a process holds alone to remove maps or stores:
    /// `<run>/pods.lock`.
    #[must_use]
    pub fn pods_lock(&self) -> PathBuf {
        self.run.join("pods.lock")
    }

    /// Held while another IPAM plugin is asked: `<run>/delegate.lock`.
    #[must_use]
    pub fn delegate_lock(&self) -> PathBuf {
        self.run.join("delegate.lock")
    }

    /// Facts that init found and set in this boot: `<run>/node.json`.
    #[must_use]
    pub fn node_facts(&self) -> PathBuf {
        self.run.join("node.json")
    }

    /// The record of init's work in the kernel, for a later comparison: `<run>/ready.json`.
    #[must_use]
    pub fn record(&self) -> PathBuf {
        self.run.join("ready.json")
    }

    /// The generation of nftables at which no fault was found: `<run>/nft.json`.
    #[must_use]
    pub fn nft_sight(&self) -> PathBuf {
        self.run.join("nft.json")
    }

    /// The copy of the undo journal, which lasts as long as the changes that it names: `<run>/undo.json`.
    #[must_use]
    pub fn undo_copy(&self) -> PathBuf {
        self.run.join("undo.json")
    }

    /// Names of Services, and the reasons for which some are left to the stack: `<run>/services.json`.
    #[must_use]
    pub fn service_note(&self) -> PathBuf {
        self.run.join("services.json")
    }

    /// What is in force of policies, with names: `<run>/policies.json`.
    #[must_use]
    pub fn policy_note(&self) -> PathBuf {
        self.run.join("policies.json")
    }

    /// The socket on which the agent gives new pods their rights: `<run>/policy.sock`.
    #[must_use]
    pub fn policy_socket(&self) -> PathBuf {
        self.run.join("policy.sock")
    }

    /// What is known of policies for pods that start without an agent: `<state>/policies.json`.
    #[must_use]
    pub fn policy_standing(&self) -> PathBuf {
        self.state.join("policies.json")
    }

    /// Our network configuration for the container runtime: `<conf dir>/05-naru.conflist`.
    #[must_use]
    pub fn conflist(&self) -> PathBuf {
        self.cni_conf.join("05-naru.conflist")
    }

    /// The store of what survives a reboot: `<state>/node.db`.
    #[must_use]
    pub fn node_store(&self) -> PathBuf {
        self.state.join("node.db")
    }

    /// The cluster file as the administrator writes it: `<config>/cluster.toml`.
    #[must_use]
    pub fn cluster_file(&self) -> PathBuf {
        self.config.join("cluster.toml")
    }

    /// The cluster's settings where its nodes come from elsewhere: `<config>/settings.toml`.
    #[must_use]
    pub fn cluster_settings(&self) -> PathBuf {
        self.config.join("settings.toml")
    }

    /// State that the agent keeps about the Kubernetes API: `<state>/kubernetes.json`.
    #[must_use]
    pub fn kubernetes_memory(&self) -> PathBuf {
        self.state.join("kubernetes.json")
    }

    /// The time at which the agent heard of the cluster last, where that is limited: `<state>/contact.json`.
    #[must_use]
    pub fn contact(&self) -> PathBuf {
        self.state.join("contact.json")
    }

    /// The settings of the last init, including the cluster that was accepted last: `<state>/init.json`.
    #[must_use]
    pub fn settings(&self) -> PathBuf {
        self.state.join("init.json")
    }

    /// Names of the pods of live attachments, a file each: `<state>/pods`.
    #[must_use]
    pub fn pod_notes(&self) -> PathBuf {
        self.state.join("pods")
    }

    /// The pins of this ABI: `<bpf>/abi<N>`.
    #[must_use]
    pub fn pins(&self) -> Pins {
        self.pins_of(ABI_VERSION)
    }

    /// The pins of another version of the ABI.
    #[must_use]
    pub fn pins_of(&self, version: u32) -> Pins {
        Pins::of_version(&self.bpf, version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<OsString> {
        match name {
            "NARU_RUN_DIR" => Some("/env/run".into()),
            "NARU_STATE_DIR" => Some("/env/state".into()),
            "NARU_CNI_BIN_DIR" => Some("".into()),
            _ => None,
        }
    }

    #[test]
    fn a_given_directory_wins_over_the_environment_and_that_over_the_default() {
        let given = GivenPaths { run: Some("/given/run".into()), ..GivenPaths::default() };
        let paths = Paths::resolve(given, environment);
        assert_eq!(paths.run, Path::new("/given/run"));
        assert_eq!(paths.state, Path::new("/env/state"));
        assert_eq!(paths.config, Path::new("/etc/naru"));
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let paths = Paths::resolve(GivenPaths::default(), environment);
        assert_eq!(paths.cni_bin, Path::new("/opt/cni/bin"));
    }

    #[test]
    fn the_bpffs_follows_the_run_directory_unless_it_is_given() {
        let paths = Paths::resolve(GivenPaths::default(), environment);
        assert_eq!(paths.bpf, Path::new("/env/run/bpf"));
        let given = GivenPaths { bpf: Some("/b".into()), ..GivenPaths::default() };
        assert_eq!(Paths::resolve(given, environment).bpf, Path::new("/b"));
    }
}
