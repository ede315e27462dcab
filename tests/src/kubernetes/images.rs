//! Images that are made here, of programs that are here: no registry is asked.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::Context;
use naru_controlplane::Programs;

use crate::runtime::image;

/// The image that keeps a pod's namespaces.
pub const PAUSE: &str = "naru.local/pause:1";
/// The image of Kubernetes' own tests, with a shell beside it.
pub const AGNHOST: &str = "naru.local/agnhost:1";
/// The image of the cluster's name server.
pub const COREDNS: &str = "naru.local/coredns:1";

const BUSYBOX: &str = "/bin/busybox";
/// Programs of busybox in the image of the tests.
const APPLETS: [&str; 10] = ["cat", "head", "ip", "ls", "nc", "nslookup", "ping", "sh", "sleep", "wget"];

/// An image of some files.
pub struct Image<'a> {
    /// Its name.
    pub name: &'a str,
    /// Paths in the image, and the files there.
    pub files: Vec<(&'a str, PathBuf)>,
    /// Paths in the image that lead to the busybox in it.
    pub applets: &'a [&'a str],
    /// What a container runs.
    pub command: Vec<&'a str>,
}

impl Image<'_> {
    /// Writes the image's archive below `directory` and returns its path.
    ///
    /// # Errors
    /// A file is not there.
    pub fn write(&self, directory: &Path) -> anyhow::Result<PathBuf> {
        let (stem, _) = self
            .name
            .rsplit('/')
            .next()
            .and_then(|name| name.split_once(':'))
            .context(self.name.to_owned())?;
        let directory = directory.join(stem);
        let tree = directory.join("image");
        for inner in ["bin", "tmp"] {
            fs::create_dir_all(tree.join(inner)).with_context(|| tree.display().to_string())?;
        }
        for (path, file) in &self.files {
            fs::copy(file, tree.join(path)).with_context(|| file.display().to_string())?;
        }
        for applet in self.applets {
            symlink("busybox", tree.join("bin").join(applet)).with_context(|| (*applet).to_owned())?;
        }
        image::of_tree(&directory, self.name, &["bin", "tmp"], &self.command)
    }
}

/// Writes the images that every cluster needs and returns their archives.
pub fn write(directory: &Path, programs: &Programs) -> anyhow::Result<Vec<PathBuf>> {
    let busybox = || ("bin/busybox", PathBuf::from(BUSYBOX));
    let images = [
        Image {
            name: PAUSE,
            files: vec![busybox()],
            applets: &["sleep"],
            command: vec!["/bin/sleep", "1000000"],
        },
        Image {
            name: AGNHOST,
            files: vec![busybox(), ("bin/agnhost", programs.path("agnhost"))],
            applets: &APPLETS,
            command: vec!["/bin/agnhost", "pause"],
        },
        Image {
            name: COREDNS,
            files: vec![("bin/coredns", programs.path("coredns"))],
            applets: &[],
            command: vec!["/bin/coredns"],
        },
    ];
    images.iter().map(|image| image.write(&directory.join("images"))).collect()
}
