//! The image by its Containerfile, and the one that xtask writes without a tool that builds images: both are the same
//! and run.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use naru_e2e::{dist, tool};

const NAME: &str = concat!("ghcr.io/naru/naru:v", env!("CARGO_PKG_VERSION"));
const BUILT: &str = "localhost/naru:built";
/// The most that the image may have, compressed.
const LARGEST: u64 = 12_000_000;

/// A podman with a store of its own.
struct Podman(tempfile::TempDir);

impl Podman {
    fn run(&self, arguments: &[&str]) -> String {
        let mut podman = Command::new("podman");
        podman.arg("--root").arg(self.0.path().join("root")).arg("--runroot").arg(self.0.path().join("run"));
        podman.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--runtime", "runc"]);
        tool::text(podman.args(arguments).output().unwrap()).unwrap()
    }

    /// Runs the image's program.
    fn start(&self, image: &str, arguments: &[&str]) -> String {
        // Limits cannot be raised without CAP_SYS_RESOURCE.
        let run =
            ["run", "--rm", "--network=none", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024", image];
        self.run(&[&run[..], arguments].concat())
    }

    /// The image's files below a directory of that name, with their digests.
    fn files(&self, image: &str, name: &str) -> String {
        let container = self.run(&["create", image]);
        let (archive, directory) = (self.0.path().join(format!("{name}.tar")), self.0.path().join(name));
        self.run(&["export", "--output", archive.to_str().unwrap(), container.trim()]);
        fs::create_dir(&directory).unwrap();
        let unpack = Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(&directory).output();
        tool::text(unpack.unwrap()).unwrap();
        let sums = "find . -type f -perm 755 -exec sha256sum {} + | sort -k 2";
        tool::text(Command::new("sh").args(["-c", sums]).current_dir(directory).output().unwrap()).unwrap()
    }
}

#[test]
#[ignore = "needs root and the image: cargo xtask test --kubernetes"]
fn the_containerfile_builds_the_image_that_xtask_writes_and_both_run() {
    let archive = dist::binary("naru-image.tar").unwrap().canonicalize().unwrap();
    let size = fs::metadata(&archive).unwrap().len();
    assert!(size < LARGEST, "{size} bytes");
    let podman = Podman(tempfile::tempdir().unwrap());
    let file: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy/Containerfile");
    let tree = archive.parent().and_then(Path::parent).unwrap().join("image-root");
    let (file, tree) = (file.to_str().unwrap(), tree.to_str().unwrap());
    podman.run(&["build", "--isolation=chroot", "--tag", BUILT, "--file", file, tree]);
    podman.run(&["load", "--quiet", "--input", archive.to_str().unwrap()]);
    let version = format!("naru {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!([BUILT, NAME].map(|image| podman.start(image, &["--version"])), [version.clone(), version]);
    let starts =
        |image| podman.run(&["inspect", "--format", "{{.Config.Entrypoint}} {{.Config.Cmd}}", image]);
    assert_eq!(starts(BUILT), starts(NAME));
    let files = podman.files(NAME, "xtask");
    assert_eq!(files.lines().count(), 4, "{files}");
    assert_eq!(podman.files(BUILT, "podman"), files);
}
