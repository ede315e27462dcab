//! Debian packages, installed by apt.

use std::process::Command;

use anyhow::bail;

use super::compiler::Bpf;
use crate::run::{self, say, step};

/// The purpose of a set of packages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// The BPF compiler, and the compiler and libraries for bpf-linker and the bundled SQLite.
    Build,
    /// Programs that the lab and the tests run.
    Test,
    /// The test machine with another kernel.
    Vm,
    /// Programs that Kubernetes calls, and those that tests run in pods.
    Kubernetes,
}

impl Group {
    fn packages(self) -> &'static [&'static str] {
        match self {
            // core for the BPF target comes compiled; clippy of the same version checks the datapath.
            Self::Build => &[
                "gcc",
                "libc6-dev",
                "rustc-web",
                "cargo-web",
                "rust-web-clippy",
                "libstd-rust-web-dev-bpf",
                "llvm-22-dev",
                "libpolly-22-dev",
            ],
            Self::Test => &[
                "bpftool",
                // With containerd, podman and runc: the container runtimes; curl speaks to containerd.
                "busybox-static",
                "containerd",
                "containernetworking-plugins",
                "curl",
                "dnsmasq-base",
                "iproute2",
                "iptables",
                "iputils-ping",
                "nftables",
                "podman",
                "procps",
                "runc",
                "systemd",
                "util-linux",
            ],
            Self::Vm => &["kmod", "qemu-system-x86"],
            Self::Kubernetes => &[
                "bind9-dnsutils",
                "conntrack",
                "containerd",
                "curl",
                "ethtool",
                "iptables",
                "netcat-openbsd",
                "nftables",
                "runc",
                "socat",
                "wget",
            ],
        }
    }
}

/// The packages of `groups` that are not installed.
///
/// # Errors
/// The system is not Debian, and the group is not there in another form.
pub fn missing(groups: &[Group]) -> anyhow::Result<Vec<&'static str>> {
    let groups =
        groups.iter().filter(|group| **group != Group::Build || Bpf::present() != Some(Bpf::Nightly));
    let wanted: Vec<_> = groups.flat_map(|group| group.packages()).copied().collect();
    if wanted.is_empty() {
        return Ok(wanted);
    }
    let installed = installed(&wanted)?;
    Ok(wanted.into_iter().filter(|name| !installed.iter().any(|have| have == name)).collect())
}

/// Installs the packages of `groups` that are missing.
///
/// # Errors
/// apt fails, or the caller is not root.
pub fn install(groups: &[Group]) -> anyhow::Result<()> {
    add(&missing(groups)?)
}

/// Installs `missing`; does nothing if that is empty.
///
/// # Errors
/// As [`install`].
pub fn add(missing: &[&str]) -> anyhow::Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !run::is_root()? {
        bail!("packages are missing; run as root: apt-get install --no-install-recommends {names}");
    }
    if !all_known(missing) {
        update();
    }
    let what = format!("install {names}");
    // apt must remove nothing for it: another packaging of containerd, for example, stays and is named as the obstacle.
    let mut install = apt("install");
    install.args(["--no-install-recommends", "--no-remove"]).args(missing);
    if step(&what, &mut install).is_ok() {
        return Ok(());
    }
    // Old lists name versions that the archive no longer has.
    update();
    step(&what, &mut install)
}

/// Names of `wanted` that dpkg has installed.
fn installed(wanted: &[&str]) -> anyhow::Result<Vec<String>> {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${Package} ${db:Status-Status}\n"]).args(wanted);
    let Ok(output) = query.output() else {
        bail!(
            "dpkg-query cannot be run: setup supports Debian only; install these by hand: {}",
            wanted.join(" ")
        );
    };
    // dpkg-query fails when it does not know one of the names, but prints the others all the same.
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| line.strip_suffix(" installed")).map(str::to_owned).collect())
}

/// True if apt's lists have a version of every package.
fn all_known(names: &[&str]) -> bool {
    names.iter().all(|name| {
        let policy = run::output(Command::new("apt-cache").args(["policy", name])).unwrap_or_default();
        policy.lines().any(|line| line.trim_start().starts_with("Candidate:") && !line.ends_with("(none)"))
    })
}

/// Fetches apt's lists. A source that does not answer is no reason to stop: the installation says what is missing.
fn update() {
    if let Err(error) = step("apt-get update", &mut apt("update")) {
        say(&format!("{error}; continuing with the lists that are here"));
    }
}

fn apt(verb: &str) -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args([
        "-y",
        "-q",
        "-o",
        "DPkg::Lock::Timeout=300",
        verb,
    ]);
    command
}
