//! Network namespaces by name, entered by a thread. The mount namespace stays the same, and with it the bpffs stays
//! visible.

use std::{
    fs::{self, File},
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use anyhow::{Context, anyhow};
use rustix::{
    mount::{UnmountFlags, mount_bind, unmount},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space},
};

const DIRECTORY: &str = "/run/netns";

/// An open network namespace; cheap to clone.
#[derive(Clone, Debug)]
pub struct Netns {
    name: String,
    file: Arc<File>,
}

impl Netns {
    /// Opens the namespace that `ip netns` would call `name`.
    ///
    /// # Errors
    /// There is no such namespace.
    pub fn open(name: &str) -> anyhow::Result<Self> {
        let path = Path::new(DIRECTORY).join(name);
        let file = File::open(&path).with_context(|| format!("namespace {name}: open {}", path.display()))?;
        Ok(Self { name: name.to_owned(), file: Arc::new(file) })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        Path::new(DIRECTORY).join(&self.name)
    }

    /// Runs `work` inside, on a thread of its own; processes started there are inside too.
    ///
    /// # Errors
    /// `work` fails, or the namespace cannot be entered.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
        thread::scope(|scope| join(&self.name, scope.spawn(|| self.enter().and_then(|()| work())).join()))
    }

    /// Starts `work` inside, on a thread of its own.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
    ) -> Task<T> {
        let netns = self.clone();
        let name = self.name.clone();
        Task { name, handle: thread::spawn(move || netns.enter().and_then(|()| work())) }
    }

    fn enter(&self) -> anyhow::Result<()> {
        move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
            .with_context(|| format!("namespace {}: setns", self.name))
    }
}

/// Work that goes on inside a namespace.
#[derive(Debug)]
pub struct Task<T> {
    name: String,
    handle: thread::JoinHandle<anyhow::Result<T>>,
}

impl<T> Task<T> {
    /// Waits for the end of the work.
    ///
    /// # Errors
    /// The work failed.
    pub fn join(self) -> anyhow::Result<T> {
        join(&self.name, self.handle.join())
    }
}

fn join<T>(name: &str, result: thread::Result<anyhow::Result<T>>) -> anyhow::Result<T> {
    result.map_err(|panic| anyhow!("namespace {name}: panic: {}", panic_text(&panic)))?
}

fn panic_text(panic: &Box<dyn std::any::Any + Send>) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("?")
}

/// A namespace made for a test; its name goes when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    netns: Netns,
}

impl Scratch {
    /// Creates the namespace `name`, loopback down as a runtime leaves it.
    ///
    /// # Errors
    /// It exists already, or the kernel refuses.
    pub fn create(name: &str) -> anyhow::Result<Self> {
        fs::create_dir_all(DIRECTORY).context("create /run/netns")?;
        let path = Path::new(DIRECTORY).join(name);
        File::create_new(&path).with_context(|| format!("namespace {name}: create {}", path.display()))?;
        let made = thread::scope(|scope| join(name, scope.spawn(|| unshare_onto(&path)).join()));
        if let Err(error) = made {
            remove(&path);
            return Err(error);
        }
        Ok(Self { netns: Netns::open(name)? })
    }

    /// The namespace.
    #[must_use]
    pub fn netns(&self) -> &Netns {
        &self.netns
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.netns.path());
    }
}

fn unshare_onto(path: &Path) -> anyhow::Result<()> {
    // SAFETY: NEWNET leaves the file table shared; only the network namespace of this thread changes.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.context("unshare")?;
    mount_bind("/proc/thread-self/ns/net", path).with_context(|| format!("mount {}", path.display()))
}

fn remove(path: &Path) {
    let _ = unmount(path, UnmountFlags::DETACH);
    let _ = fs::remove_file(path);
}
