//! The programs of a real Kubernetes, built once from their Go modules into the directory of tools.

mod go;
mod modules;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

use self::modules::Module;
use crate::{
    run::{self, say, step},
    workspace,
};

/// The part of a cluster that is wanted; each includes those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cluster {
    /// API server, its store, the controllers and kubectl.
    ControlPlane,
    /// Scheduler, kubelet, kube-proxy, name server, and what runs in pods.
    Nodes,
    /// The upstream tests and what they and ours call.
    Suites,
}

impl Cluster {
    fn modules(self) -> impl Iterator<Item = &'static Module> {
        let parts = [
            (Self::ControlPlane, modules::CONTROL_PLANE),
            (Self::Nodes, modules::NODES),
            (Self::Suites, modules::SUITES),
        ];
        parts.into_iter().filter(move |(part, _)| *part <= self).flat_map(|(_, modules)| modules)
    }

    /// Programs that are not there yet.
    ///
    /// # Errors
    /// No directory for tools can be chosen.
    pub fn missing(self) -> anyhow::Result<Vec<&'static str>> {
        let bin = bin_directory()?;
        Ok(self.modules().flat_map(Module::names).filter(|name| !bin.join(name).is_file()).collect())
    }

    /// Builds what is missing, one module after the other; minutes, where nothing is there.
    ///
    /// # Errors
    /// There is no Go, a module cannot be had, or does not compile.
    pub fn install(self) -> anyhow::Result<()> {
        let missing = self.missing()?;
        if missing.is_empty() {
            return Ok(());
        }
        say(&format!(
            "Kubernetes {} is built once, for all checkouts: {}",
            modules::KUBERNETES,
            missing.join(", ")
        ));
        let go = go::toolchain(&workspace::tools()?)?;
        let (bin, scratch) = (bin_directory()?, root()?.join("build"));
        for module in self.modules().filter(|module| module.names().any(|name| missing.contains(&name))) {
            build(module, &go, &bin, &scratch)?;
        }
        // The caches are ten times the size of what was built, and the next build is of another version.
        fs::remove_dir_all(&scratch).with_context(|| scratch.display().to_string())
    }
}

/// The directory of the programs.
///
/// # Errors
/// No directory for tools can be chosen.
pub fn bin_directory() -> anyhow::Result<PathBuf> {
    Ok(root()?.join("bin"))
}

fn root() -> anyhow::Result<PathBuf> {
    Ok(workspace::tools()?.join(format!("kubernetes-{}", modules::KUBERNETES.trim_start_matches('v'))))
}

fn build(module: &Module, go: &Path, bin: &Path, scratch: &Path) -> anyhow::Result<()> {
    let directory = scratch.join(module.name);
    for needed in [bin, &directory] {
        fs::create_dir_all(needed).with_context(|| needed.display().to_string())?;
    }
    let place = directory.join("go.mod");
    let published = download(module, go, scratch)?;
    let own =
        fs::read_to_string(&published.manifest).with_context(|| published.manifest.display().to_string())?;
    fs::write(&place, module.manifest(&own)).with_context(|| place.display().to_string())?;
    if !module.without.is_empty() {
        copy(module, &published.directory, &directory.join(modules::COPY))?;
    }
    let in_module = || {
        let mut command = go::command(go, scratch);
        command.current_dir(&directory);
        command
    };
    step(&format!("fetch {} {}", module.path, module.version), in_module().args(["mod", "tidy"]))?;
    let options = module.linker_options();
    for (package, name) in module.programs {
        let unfinished = directory.join(name);
        let mut build = in_module();
        build.args(["build", "-p", "2", "-ldflags", &options, "-o"]).arg(&unfinished).arg(package);
        step(&format!("build {name}"), &mut build)?;
        finish(&unfinished, &bin.join(name))?;
    }
    if let Some((package, name)) = &module.tests {
        let unfinished = directory.join(name);
        let mut build = in_module();
        build
            .args(["test", "-c", "-p", "2", "-vet=off", "-ldflags", &options, "-o"])
            .arg(&unfinished)
            .arg(package);
        step(&format!("build {name}"), &mut build)?;
        finish(&unfinished, &bin.join(name))?;
    }
    Ok(())
}

/// Files of a module as it is published.
struct Published {
    manifest: PathBuf,
    directory: PathBuf,
}

fn download(module: &Module, go: &Path, scratch: &Path) -> anyhow::Result<Published> {
    let name = format!("{}@{}", module.path, module.version);
    let mut download = go::command(go, scratch);
    let answer = run::output(download.current_dir(scratch).args(["mod", "download", "-json", &name]))?;
    let answer: serde_json::Value = serde_json::from_str(&answer).with_context(|| format!("go: {name}"))?;
    let place = |key: &str| -> anyhow::Result<PathBuf> {
        Ok(answer[key].as_str().with_context(|| format!("go: {name}: no {key}"))?.into())
    };
    Ok(Published { manifest: place("GoMod")?, directory: place("Dir")? })
}

/// Copies a module without the packages that are left out of its program.
fn copy(module: &Module, from: &Path, to: &Path) -> anyhow::Result<()> {
    step(&format!("copy {}", module.path), Command::new("cp").arg("-r").arg(from).arg(to))?;
    for package in module.without {
        let place = to.join(package);
        fs::remove_dir_all(&place).with_context(|| place.display().to_string())?;
    }
    let main = to.join("main.go");
    let text = fs::read_to_string(&main).with_context(|| main.display().to_string())?;
    fs::write(&main, module.main_file(&text)).with_context(|| main.display().to_string())
}

/// A program is in its place whole or not at all.
fn finish(unfinished: &Path, place: &Path) -> anyhow::Result<()> {
    fs::rename(unfinished, place).with_context(|| place.display().to_string())
}
