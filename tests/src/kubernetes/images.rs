//! Images that are made here, of programs that are here: no registry is asked.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use naru_controlplane::{Authority, Programs};

use crate::{runtime::image, tool};

/// The image that keeps a pod's namespaces.
pub const PAUSE: &str = "naru.local/pause:1";
/// The image of Kubernetes' own tests, with a shell beside it.
pub const AGNHOST: &str = "naru.local/agnhost:1";
/// The image of the cluster's name server.
pub const COREDNS: &str = "naru.local/coredns:1";

const BUSYBOX: &str = "/bin/busybox";
/// Programs of busybox in images with a shell.
const APPLETS: &[&str] = &[
    "awk", "cat", "cut", "date", "echo", "env", "false", "grep", "head", "hostname", "id", "ls", "mkdir",
    "nslookup", "ping", "printf", "rm", "sed", "seq", "sleep", "sort", "tail", "test", "timeout", "touch",
    "tr", "true", "uniq", "wc",
];

/// An image of some files.
#[derive(Default)]
pub struct Image<'a> {
    /// Its names.
    pub names: Vec<&'a str>,
    /// Paths in the image, and the files there.
    pub files: Vec<(&'a str, PathBuf)>,
    /// Programs of this machine that are in it with their libraries.
    pub programs: &'a [&'a str],
    /// Programs in it that are its busybox.
    pub applets: &'a [&'a str],
    /// The beginning of what every container runs.
    pub entrypoint: Vec<&'a str>,
    /// The rest of it, unless its pod says another.
    pub command: Vec<&'a str>,
}

impl Image<'_> {
    /// Writes the image's archive into a directory of that name below `directory` and returns its path.
    ///
    /// # Errors
    /// A program is not there.
    pub fn write(&self, directory: &Path, name: &str) -> anyhow::Result<PathBuf> {
        let directory = directory.join(name);
        let tree = directory.join("image");
        fs::create_dir_all(tree.join("tmp")).with_context(|| tree.display().to_string())?;
        for (path, file) in &self.files {
            copy(file, &tree.join(path))?;
        }
        for program in self.programs {
            let file = located(program)?;
            copy(&file, &tree.join("bin").join(program))?;
            for library in libraries(&file)? {
                copy(&library, &tree.join(library.strip_prefix("/").unwrap_or(&library)))?;
            }
        }
        for applet in self.applets {
            let link = tree.join("bin").join(applet);
            symlink("busybox", &link).with_context(|| link.display().to_string())?;
        }
        image::of_tree(&directory, &self.names, &self.entrypoint, &self.command)
    }
}

/// Writes the images that every cluster needs and returns their archives.
pub fn write(directory: &Path, programs: &Programs) -> anyhow::Result<Vec<PathBuf>> {
    let directory = directory.join("images");
    let pause = Image {
        names: vec![PAUSE],
        files: vec![("bin/busybox", BUSYBOX.into())],
        applets: &["sleep"],
        command: vec!["/bin/sleep", "1000000"],
        ..Image::default()
    };
    let coredns = Image {
        names: vec![COREDNS],
        files: vec![("coredns", programs.path("coredns"))],
        entrypoint: vec!["/coredns"],
        ..Image::default()
    };
    Ok(vec![
        pause.write(&directory, "pause")?,
        coredns.write(&directory, "coredns")?,
        agnhost(vec![AGNHOST], &directory, programs)?.write(&directory, "agnhost")?,
    ])
}

/// The image of Kubernetes' own tests, under these names. `directory` is for the certificate of its server.
///
/// # Errors
/// The certificate cannot be made.
pub fn agnhost<'a>(names: Vec<&'a str>, directory: &Path, programs: &Programs) -> anyhow::Result<Image<'a>> {
    let certificate = Authority::new("agnhost")?.server(&["localhost"])?;
    let (public, private) = (directory.join("localhost.crt"), directory.join("localhost.key"));
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    fs::write(&public, certificate.certificate).with_context(|| public.display().to_string())?;
    fs::write(&private, certificate.key).with_context(|| private.display().to_string())?;
    Ok(Image {
        names,
        files: vec![
            ("bin/busybox", BUSYBOX.into()),
            ("agnhost", programs.path("agnhost")),
            ("localhost.crt", public),
            ("localhost.key", private),
        ],
        // A shell that is busybox runs busybox's own programs in the place of those of the same name.
        programs: &["conntrack", "curl", "dig", "getent", "ip", "nc", "sh", "ss", "wget"],
        applets: APPLETS,
        entrypoint: vec!["/agnhost"],
        command: vec!["pause"],
    })
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    }
    fs::copy(from, to).with_context(|| from.display().to_string()).map(drop)
}

fn located(program: &str) -> anyhow::Result<PathBuf> {
    let directories = ["/usr/local/bin", "/usr/bin", "/usr/sbin", "/bin", "/sbin"];
    let mut places = directories.iter().map(|directory| Path::new(directory).join(program));
    places.find(|place| place.is_file()).with_context(|| format!("{program}: not installed"))
}

/// The libraries that the dynamic linker loads for a program, itself among them.
fn libraries(program: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
    let said = tool::text(Command::new("ldd").arg(program).output().context("ldd")?)?;
    let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    Ok(said.lines().filter_map(path).collect())
}
