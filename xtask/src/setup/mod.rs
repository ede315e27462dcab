//! `cargo xtask setup` installs what building, checking and testing need and what is missing.

mod compiler;
mod components;
mod packages;
mod tools;

use anyhow::bail;
use clap::Args;

pub use self::{compiler::Bpf, packages::Group, tools::Tool};
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
}

/// Runs the command.
///
/// # Errors
/// Something is missing and cannot be installed, or `--check` found something missing.
pub fn run(_workspace: &Workspace, args: &SetupArgs) -> anyhow::Result<()> {
    let needs = Needs::all(args.vm);
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
}

impl Needs {
    fn all(vm: bool) -> Self {
        let mut groups = vec![Group::Build, Group::Test];
        groups.extend(vm.then_some(Group::Vm));
        Self { groups, tools: vec![Tool::BPF_LINKER, Tool::CARGO_DENY], components: true }
    }

    /// The needs of `build`.
    #[must_use]
    pub fn build() -> Self {
        Self { groups: vec![Group::Build], tools: vec![Tool::BPF_LINKER], components: false }
    }

    /// The needs of `check`.
    #[must_use]
    pub fn check() -> Self {
        Self { groups: vec![Group::Build], tools: vec![Tool::CARGO_DENY], components: true }
    }

    /// The needs of `test`, `lab` and `bench`.
    #[must_use]
    pub fn test() -> Self {
        Self { groups: vec![Group::Build, Group::Test], tools: vec![Tool::BPF_LINKER], components: false }
    }

    /// The needs of `test --vm`.
    #[must_use]
    pub fn vm() -> Self {
        Self { groups: vec![Group::Build, Group::Test, Group::Vm], ..Self::test() }
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
        Ok(())
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
        Ok(missing)
    }
}
