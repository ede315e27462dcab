//! The namespaces and files of a bench, all found by one name: the next run removes what a killed one left.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use naru_sandbox::{files, netns, process};
use rustix::fs::{FlockOperation, flock};

/// Parent of every bench's directory.
const ROOT: &str = "/run/naru-bench";

/// The place of one bench, empty when claimed and gone when dropped.
#[derive(Debug)]
pub struct Site {
    name: String,
    root: PathBuf,
    /// Held as long as the site is in use.
    _lock: File,
}

impl Site {
    /// Claims the place called `name` and removes what is left there.
    ///
    /// # Errors
    /// Another bench uses it, or something in it cannot be removed.
    pub fn claim(name: &str) -> anyhow::Result<Self> {
        let root = Path::new(ROOT).join(name);
        let path = root.with_extension("lock");
        let lock = files::again(|| fs::create_dir_all(ROOT).and_then(|()| File::create(&path)))
            .with_context(|| format!("create {}", path.display()))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!("another bench is running ({} is locked)", path.display());
        }
        let site = Self { name: name.to_owned(), root, _lock: lock };
        site.sweep()?;
        fs::create_dir_all(&site.root).with_context(|| format!("create {}", site.root.display()))?;
        Ok(site)
    }

    /// The namespace of `place`.
    #[must_use]
    pub fn netns(&self, place: &str) -> String {
        format!("{}-{place}", self.name)
    }

    /// The directory of `place`.
    #[must_use]
    pub fn directory(&self, place: &str) -> PathBuf {
        self.root.join(place)
    }

    /// Removes the namespaces with the processes in them, the mounts and the files.
    fn sweep(&self) -> anyhow::Result<()> {
        let prefix = self.netns("");
        let namespaces: Vec<String> =
            netns::names()?.into_iter().filter(|name| name.starts_with(&prefix)).collect();
        let paths: Vec<PathBuf> = namespaces.iter().map(|name| netns::path(name)).collect();
        process::kill_all_inside(&paths)?;
        files::unmount_below(&self.root)?;
        namespaces.iter().try_for_each(|name| netns::remove(name))?;
        files::remove(&self.root)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Err(error) = self.sweep() {
            eprintln!("bench: clean up: {error:#}");
        }
        // Whoever waits for the lock holds the file open, and finds another one under its name.
        let _ = fs::remove_file(self.root.with_extension("lock"));
        // The parent goes with the last bench.
        let _ = fs::remove_dir(ROOT);
    }
}
