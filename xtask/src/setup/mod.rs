//! `cargo xtask setup` installs everything that building, checking and testing need and that is missing.

mod compiler;
mod components;
mod kubernetes;
mod packages;
mod tools;

use anyhow::bail;
use clap::Args;

pub use self::{compiler::Bpf, kubernetes::Cluster, packages::Group, tools::Tool};
use crate::{run::say, workspace::Workspace};

/// Options of `setup`.
#[derive(Args)]
pub struct SetupArgs {
    /// Print what is missing and install nothing; exit status 1 if anything is missing
    #[arg(long)]
    check: bool,
    /// Include what `test --vm` needs (qemu)
    #[arg(long)]
    vm: bool,
    /// Include a whole Kubernetes (lab --kubernetes, test --kubernetes): minutes, the first time
    #[arg(long)]
    kubernetes: bool,
}

/// Runs the command.
///
/// # Errors
/// Something is missing and cannot be installed, or `--check` found something missing.
pub fn run(_workspace: &Workspace, args: &SetupArgs) -> anyhow::Result<()> {
    let needs = Needs::all(args);
    if !args.check {
        needs.install()?;
        say("setup: nothing is missing");
        return Ok(());
    }
    let missing = needs.missing()?;
    if missing.is_empty() {
        say("setup: nothing is missing");
        return Ok(());
    }
    for line in &missing {
        say(&format!("missing: {line}"));
    }
    bail!("setup: {} missing; `cargo xtask setup` installs them", missing.len())
}

/// Packages, tools and components that a command needs.
#[derive(Clone)]
pub struct Needs {
    groups: Vec<Group>,
    tools: Vec<Tool>,
    components: bool,
    cluster: Option<Cluster>,
}

impl Needs {
    fn all(args: &SetupArgs) -> Self {
        let mut groups = vec![Group::Build, Group::Test];
        groups.extend(args.vm.then_some(Group::Vm));
        groups.extend(args.kubernetes.then_some(Group::Kubernetes));
        let cluster = if args.kubernetes { Cluster::Suites } else { Cluster::ControlPlane };
        let tools = vec![Tool::BPF_LINKER, Tool::CARGO_DENY];
        Self { groups, tools, components: true, cluster: Some(cluster) }
    }

    /// The needs of `build`.
    #[must_use]
    pub fn build() -> Self {
        Self { groups: vec![Group::Build], tools: vec![Tool::BPF_LINKER], components: false, cluster: None }
    }

    /// The needs of `check`.
    #[must_use]
    pub fn check() -> Self {
        Self { groups: vec![Group::Build], tools: vec![Tool::CARGO_DENY], components: true, cluster: None }
    }

    /// The needs of `lab` and `bench`.
    #[must_use]
    pub fn lab() -> Self {
        let groups = vec![Group::Build, Group::Test];
        Self { groups, tools: vec![Tool::BPF_LINKER], components: false, cluster: None }
    }

    /// The needs of `test`.
    #[must_use]
    pub fn test() -> Self {
        Self { cluster: Some(Cluster::ControlPlane), ..Self::lab() }
    }

    /// The needs of `test --vm`.
    #[must_use]
    pub fn vm() -> Self {
        Self { groups: vec![Group::Build, Group::Test, Group::Vm], ..Self::lab() }
    }

    /// The needs of `lab --kubernetes`, or with `suites` of `test --kubernetes`.
    #[must_use]
    pub fn kubernetes(suites: bool) -> Self {
        let groups = vec![Group::Build, Group::Test, Group::Kubernetes];
        let cluster = if suites { Cluster::Suites } else { Cluster::Nodes };
        Self { groups, cluster: Some(cluster), ..Self::lab() }
    }

    /// Installs what is missing; prints nothing and returns quickly when nothing is.
    ///
    /// # Errors
    /// Something cannot be installed.
    pub fn install(&self) -> anyhow::Result<()> {
        packages::install(&self.groups)?;
        if self.components {
            components::install()?;
        }
        for tool in &self.tools {
            tool.install()?;
        }
        self.cluster.map_or(Ok(()), Cluster::install)
    }

    fn missing(&self) -> anyhow::Result<Vec<String>> {
        let mut missing = Vec::new();
        for package in packages::missing(&self.groups)? {
            missing.push(format!("package {package}"));
        }
        if self.components {
            missing.extend(components::missing().into_iter().map(|name| format!("cargo {name}")));
        }
        for tool in &self.tools {
            if !tool.is_installed()? {
                missing.push(tool.to_string());
            }
        }
        if let Some(cluster) = self.cluster {
            missing.extend(cluster.missing()?.into_iter().map(|name| format!("Kubernetes' {name}")));
        }
        Ok(missing)
    }
}
