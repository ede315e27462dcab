use std::path::{Path, PathBuf};

use anyhow::Context;
use naru_install::{
    directories::{self, Directories},
    programs::{self, Installed, Program},
};
use naru_node::paths::GivenPaths;

use crate::{args::InstallArgs, root};

/// The programs that a container runtime calls.
pub const PROGRAMS: [&str; 3] = ["naru-cni", "naru-ipam", "loopback"];

/// Puts the plugins where the container runtime looks for them.
pub fn run(given: &GivenPaths, args: &InstallArgs) -> anyhow::Result<()> {
    let from = args.from.clone().map_or_else(own_directory, Ok)?;
    let opened: Result<Vec<_>, _> = PROGRAMS.iter().map(|name| Program::open(&from, name)).collect();
    let mut programs = opened?;
    if let Some(root) = &args.root {
        root::enter(root)?;
    }
    let found = directories_of_the_runtime(given)?;
    outln!("{}", described(&found));
    // A runtime watches this directory from its start on; without it the agent would write no configuration.
    std::fs::create_dir_all(&found.conf).with_context(|| found.conf.display().to_string())?;
    let (directory, installed) = programs::install(&mut programs, &found.bin)?;
    for (program, installed) in programs.iter().zip(installed) {
        let place = directory.join(&program.name);
        match installed {
            Installed::Same => outln!("{}: is up to date", place.display()),
            Installed::Written => outln!("{}: written", place.display()),
        }
    }
    Ok(())
}

/// The runtime's directories; those that were given take precedence.
pub fn directories_of_the_runtime(given: &GivenPaths) -> anyhow::Result<Directories> {
    let chosen = |flag: &Option<PathBuf>, variable: &str| {
        let environment = || std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
        flag.clone().or_else(environment)
    };
    let conf = chosen(&given.cni_conf, "NARU_CNI_CONF_DIR");
    let bin = chosen(&given.cni_bin, "NARU_CNI_BIN_DIR");
    if let (Some(conf), Some(bin)) = (&conf, &bin) {
        // If both are given, an unreadable configuration does no harm.
        return Ok(Directories { conf: conf.clone(), bin: vec![bin.clone()], source: None });
    }
    let found = directories::find(Path::new("/"))
        .context("the container runtime's configuration; set NARU_CNI_CONF_DIR and NARU_CNI_BIN_DIR")?;
    Ok(Directories {
        conf: conf.unwrap_or(found.conf),
        bin: bin.map_or(found.bin, |bin| vec![bin]),
        source: found.source,
    })
}

fn described(found: &Directories) -> String {
    let bin: Vec<_> = found.bin.iter().map(|path| path.display().to_string()).collect();
    let source = found.source.as_ref().map_or("defaults".into(), |path| path.display().to_string());
    format!("the container runtime looks in {} and {} ({source})", found.conf.display(), bin.join(", "))
}

/// The directory of this program.
pub fn own_directory() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("this program's own path; set --from")?;
    Ok(program.parent().unwrap_or_else(|| Path::new("/")).to_owned())
}
