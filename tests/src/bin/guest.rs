//! First process of the virtual machine that `cargo xtask test --vm` starts. It makes the host's files the root of
//! the guest, writable in memory only, runs one script, reports its exit status and switches the machine off.
//!
//! It is linked statically, because nothing else is there yet. Its arguments come as environment variables from the
//! kernel's command line.

use std::{
    env,
    ffi::CStr,
    fs::{self, File},
    os::fd::AsFd,
    path::Path,
    process::Command,
};

use anyhow::{Context, bail};
use rustix::{
    io::Errno,
    mount::{MountFlags, mount, mount_bind, mount_move},
    process::{chdir, chroot},
    system::{RebootCommand, finit_module, reboot},
};

/// Paths of the modules that the root file system needs, in order; put here by xtask.
const MODULES: &str = "/modules.list";
/// Directory in which the guest's root is assembled.
const ROOT: &str = "/root";

fn main() {
    let code = match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("guest: {error:#}");
            1
        }
    };
    // xtask reads this line from the serial console.
    println!("\nguest: exit status {code}");
    if let Err(error) = reboot(RebootCommand::PowerOff) {
        eprintln!("guest: power off: {error}");
    }
}

fn run() -> anyhow::Result<i32> {
    for path in read(MODULES)?.lines() {
        load(path).with_context(|| format!("load {path}"))?;
    }
    root().context("make the root file system")?;
    modules().context("put the modules where modprobe looks")?;
    let script = env::var("NARU_SCRIPT").context("NARU_SCRIPT")?;
    let status = Command::new("/bin/sh").arg(&script).status().with_context(|| format!("run {script}"))?;
    status.code().with_context(|| format!("{script}: {status}"))
}

fn load(path: &str) -> anyhow::Result<()> {
    let file = File::open(path)?;
    match finit_module(file.as_fd(), c"", 0) {
        // The module is in the kernel already, or two modules need it.
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => bail!("{error}"),
    }
}

/// The host's files below, memory above.
fn root() -> anyhow::Result<()> {
    let read_only = MountFlags::RDONLY;
    on("host", "/lower", c"9p", read_only, c"trans=virtio,version=9p2000.L,msize=524288,cache=loose")?;
    on("memory", "/memory", c"tmpfs", MountFlags::empty(), c"size=75%")?;
    for directory in ["/memory/upper", "/memory/work"] {
        fs::create_dir(directory).context(directory)?;
    }
    let layers = c"lowerdir=/lower,upperdir=/memory/upper,workdir=/memory/work";
    on("root", ROOT, c"overlay", MountFlags::empty(), layers)?;
    on("proc", "/root/proc", c"proc", MountFlags::empty(), c"")?;
    on("sys", "/root/sys", c"sysfs", MountFlags::empty(), c"")?;
    on("dev", "/root/dev", c"devtmpfs", MountFlags::empty(), c"")?;
    on("run", "/root/run", c"tmpfs", MountFlags::empty(), c"mode=755")?;
    // The root is moved and not only entered, so that the kernel's own calls of modprobe find it too.
    chdir(ROOT)?;
    mount_move(".", "/")?;
    chroot(".")?;
    Ok(chdir("/")?)
}

fn on(source: &str, target: &str, kind: &CStr, flags: MountFlags, options: &CStr) -> anyhow::Result<()> {
    fs::create_dir_all(target).context(target.to_owned())?;
    mount(source, target, kind, flags, Some(options)).with_context(|| format!("mount {kind:?} on {target}"))
}

fn modules() -> anyhow::Result<()> {
    let from = env::var("NARU_MODULES").context("NARU_MODULES")?;
    let to = Path::new("/usr/lib/modules");
    fs::create_dir_all(to)?;
    Ok(mount_bind(from, to)?)
}

fn read(path: &str) -> anyhow::Result<String> {
    fs::read_to_string(path).context(path.to_owned())
}
