//! A kernel of Debian's archive.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

use crate::run::{self, step};

/// Modules that the guest's root file system needs.
const FOR_ROOT: [&str; 4] = ["virtio_pci", "9pnet_virtio", "9p", "overlay"];

/// An unpacked kernel.
pub struct Kernel {
    /// The version as `uname -r` prints it.
    pub release: String,
    root: PathBuf,
}

impl Kernel {
    /// The newest kernel of `version`, downloaded into `directory` unless it is there.
    ///
    /// # Errors
    /// The archive has none, or it cannot be downloaded.
    pub fn fetch(version: &str, directory: &Path) -> anyhow::Result<Self> {
        let names = run::output(Command::new("apt-cache").args(["pkgnames", "linux-image-"]))?;
        let package =
            newest(&names, version).with_context(|| format!("no Debian kernel of version {version}"))?;
        let release = package.trim_start_matches("linux-image-").to_owned();
        let kernel = Self { root: directory.join(&release), release };
        if !kernel.image().exists() {
            kernel.unpack(package, directory)?;
        }
        Ok(kernel)
    }

    /// The kernel's image.
    pub fn image(&self) -> PathBuf {
        self.root.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    /// Directory of all its modules.
    pub fn modules(&self) -> PathBuf {
        self.root.join("lib/modules")
    }

    /// Files of the modules for the root file system, in the order of loading.
    ///
    /// # Errors
    /// The kernel lacks a module.
    pub fn root_modules(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for module in FOR_ROOT {
            let mut query = Command::new("modprobe");
            query.arg("-d").arg(&self.root).args(["-S", &self.release, "--show-depends", module]);
            let answer = run::output(&mut query)?;
            files.extend(
                answer.lines().filter_map(|line| line.strip_prefix("insmod ")).map(|path| path.trim().into()),
            );
        }
        Ok(files)
    }

    /// The package is unpacked under another name and then renamed, so that a directory under its final name is
    /// complete.
    fn unpack(&self, package: &str, directory: &Path) -> anyhow::Result<()> {
        let staged = directory.join("unpacking");
        let _ = fs::remove_dir_all(&staged);
        fs::create_dir_all(&staged).with_context(|| staged.display().to_string())?;
        let mut download = Command::new("apt-get");
        download.current_dir(&staged).args(["-q", "-o", "APT::Sandbox::User=root", "download", package]);
        step(&format!("fetch {package}"), &mut download)?;
        let archive = fs::read_dir(&staged)?.next().context("apt-get download left nothing")??.path();
        step("unpack the kernel", Command::new("dpkg").arg("-x").arg(&archive).arg(&staged))?;
        fs::remove_file(&archive)?;
        run::output(Command::new("depmod").arg("-b").arg(&staged).arg(&self.release))?;
        fs::rename(&staged, &self.root).with_context(|| self.root.display().to_string())
    }
}

/// The package with the highest numbers among the plain kernels of `version`.
fn newest<'a>(names: &'a str, version: &str) -> Option<&'a str> {
    let start = format!("linux-image-{version}.");
    let plain = |name: &&str| {
        let Some(rest) = name.strip_prefix(&start).and_then(|rest| rest.strip_suffix("-amd64")) else {
            return false;
        };
        !rest.contains("-rt") && !rest.contains("-cloud")
    };
    names.lines().filter(plain).max_by_key(|name| numbers(name))
}

fn numbers(name: &str) -> Vec<u32> {
    name.split(|letter: char| !letter.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &str = "linux-image-6.1.0-9-amd64\nlinux-image-6.1.0-50-cloud-amd64\nlinux-image-6.1.0-49-amd64\n\
                         linux-image-6.1.0-50-rt-amd64\nlinux-image-6.12.100+deb12-amd64\nlinux-image-amd64\n\
                         linux-image-6.1.0-50-amd64-unsigned";

    #[test]
    fn the_newest_plain_kernel_of_the_version_is_chosen_by_number() {
        assert_eq!(newest(NAMES, "6.1"), Some("linux-image-6.1.0-49-amd64"));
        assert_eq!(newest(NAMES, "6.12"), Some("linux-image-6.12.100+deb12-amd64"));
        assert_eq!(newest(NAMES, "5.10"), None);
    }
}
