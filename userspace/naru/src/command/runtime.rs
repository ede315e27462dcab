//! The container runtime's directories while the agent runs: an upgrade of a distribution may bring other ones, and no
//! init container runs again then.

use std::{thread, time::Duration};

use anyhow::Context;
use naru_install::{
    directories::Directories,
    programs::{self, Program},
};
use naru_node::paths::GivenPaths;

use super::install::{PROGRAMS, directories_of_the_runtime, own_directory};

/// Time between two looks at the runtime's configuration.
const PERIOD: Duration = Duration::from_secs(20);

/// The plugins of this process's image, opened before its root directory is another one.
///
/// # Errors
/// One is not there.
pub fn open_plugins() -> anyhow::Result<Vec<Program>> {
    let from = own_directory()?;
    PROGRAMS.iter().map(|name| Program::open(&from, name).map_err(Into::into)).collect()
}

/// Looks from time to time whether the runtime still has the `known` directories, in a thread of its own. Where it has
/// others, the plugins are put there and this process ends: the next one begins with them.
///
/// # Errors
/// The system has no thread.
pub fn follow(given: GivenPaths, mut plugins: Vec<Program>, known: Directories) -> anyhow::Result<()> {
    let work = move || {
        let mut complaint = String::new();
        loop {
            thread::sleep(PERIOD);
            match look(&given, &mut plugins, &known) {
                Ok(true) => {
                    tracing::info!(
                        "the container runtime looks in other directories: starting again with them"
                    );
                    // As on any other end, the agent's loop ends first.
                    // SAFETY: a system call on numbers.
                    unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
                    return;
                }
                Ok(false) => complaint.clear(),
                Err(error) => {
                    let said = format!("{error:#}");
                    if said != complaint {
                        tracing::warn!("plugins for the container runtime: {said}");
                    }
                    complaint = said;
                }
            }
        }
    };
    thread::Builder::new().name("runtime".into()).spawn(work).map(drop).context("a thread for the runtime")
}

/// Puts the plugins where the runtime looks and does not find them; returns true if it has other directories.
fn look(given: &GivenPaths, plugins: &mut [Program], known: &Directories) -> anyhow::Result<bool> {
    let found = directories_of_the_runtime(given)?;
    let is_other = (&found.conf, &found.bin) != (&known.conf, &known.bin);
    let is_there = |plugin: &Program| found.bin.iter().any(|bin| bin.join(&plugin.name).is_file());
    if is_other || !plugins.iter().all(is_there) {
        std::fs::create_dir_all(&found.conf).with_context(|| found.conf.display().to_string())?;
        programs::install(plugins, &found.bin)?;
    }
    Ok(is_other)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    #[test]
    fn plugins_follow_the_runtimes_directory_and_come_back_where_somebody_removes_them() {
        let root = tempfile::tempdir().unwrap();
        let directory = |name: &str| -> PathBuf { root.path().join(name) };
        fs::create_dir_all(directory("image")).unwrap();
        PROGRAMS.iter().for_each(|name| fs::write(directory("image").join(name), name).unwrap());
        let mut plugins: Vec<Program> =
            PROGRAMS.iter().map(|name| Program::open(&directory("image"), name).unwrap()).collect();
        let given = |bin: &str| GivenPaths {
            cni_conf: Some(directory("conf")),
            cni_bin: Some(directory(bin)),
            ..GivenPaths::default()
        };
        let known = directories_of_the_runtime(&given("old")).unwrap();
        let plugin = |bin: &str| directory(bin).join("naru-cni");
        assert!(!look(&given("old"), &mut plugins, &known).unwrap());
        assert_eq!(fs::read_to_string(plugin("old")).unwrap(), "naru-cni");
        fs::remove_file(plugin("old")).unwrap();
        assert!(!look(&given("old"), &mut plugins, &known).unwrap());
        assert!(plugin("old").exists());
        assert!(look(&given("new"), &mut plugins, &known).unwrap());
        assert_eq!(fs::read_to_string(plugin("new")).unwrap(), "naru-cni");
    }
}
