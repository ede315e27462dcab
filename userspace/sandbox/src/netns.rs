//! Named network namespaces, as `ip netns` knows them. They are entered without touching the mount namespace, because
//! `ip netns exec` would hide the bpffs.

use std::{
    fs::{self, File},
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context, anyhow};
use rustix::{
    fs::CWD,
    mount::{UnmountFlags, mount_bind, unmount},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space},
};

/// Directory in which `ip netns` keeps named namespaces.
const DIRECTORY: &str = "/run/netns";

/// The path of the namespace `name`.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// Creates the namespace `name` and runs `work` inside it.
///
/// # Errors
/// It exists already, the kernel refuses it, or `work` fails.
pub fn create<T: Send>(name: &str, work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    fs::create_dir_all(DIRECTORY).with_context(|| format!("namespace {name}: create {DIRECTORY}"))?;
    let path = path(name);
    File::create_new(&path).with_context(|| format!("namespace {name}: create {}", path.display()))?;
    on_a_thread(name, move || {
        // SAFETY: NEWNET leaves the file table shared; only the network namespace of this thread changes.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
            .with_context(|| format!("namespace {name}: unshare"))?;
        mount_bind("/proc/thread-self/ns/net", &path)
            .with_context(|| format!("namespace {name}: mount {}", path.display()))?;
        work()
    })
}

/// Runs `work` inside the namespace `name`, on a thread of its own; child processes are inside too.
///
/// # Errors
/// There is no such namespace, or `work` fails.
pub fn inside<T: Send>(name: &str, work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    on_a_thread(name, move || {
        enter(name)?;
        work()
    })
}

/// Moves the calling thread into the namespace `name`.
///
/// # Errors
/// There is no such namespace, or the kernel refuses.
pub fn enter(name: &str) -> anyhow::Result<()> {
    let path = path(name);
    let file = File::open(&path).with_context(|| format!("namespace {name}: open {}", path.display()))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("namespace {name}: setns"))
}

/// Removes the name; the namespace itself ends with its last process. Succeeds if there is none.
///
/// # Errors
/// The kernel refuses.
pub fn remove(name: &str) -> anyhow::Result<()> {
    let path = path(name);
    while unmount(&path, UnmountFlags::DETACH).is_ok() {}
    match rustix::fs::unlinkat(CWD, &path, rustix::fs::AtFlags::empty()) {
        Err(rustix::io::Errno::NOENT) | Ok(()) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("namespace {name}: remove {}", path.display())),
    }
}

/// Names of all namespaces.
///
/// # Errors
/// Their directory cannot be read.
pub fn names() -> anyhow::Result<Vec<String>> {
    let entries = match fs::read_dir(DIRECTORY) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("read {DIRECTORY}"))?,
    };
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

/// Writes the sysctl `key` (slashes between its parts) of the calling thread's namespace, if the kernel has it.
///
/// # Errors
/// The kernel refuses the value.
pub fn set_sysctl(key: &str, value: &str) -> anyhow::Result<()> {
    match fs::write(format!("/proc/sys/{key}"), value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.with_context(|| format!("set sysctl {key} to {value}")),
    }
}

fn on_a_thread<T: Send>(name: &str, work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    thread::scope(|scope| {
        scope.spawn(work).join().map_err(|_| anyhow!("namespace {name}: the thread inside it panicked"))?
    })
}
