//! A container image made from busybox, so that no registry is needed.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use serde_json::json;

use crate::tool;

/// The name of the image.
pub const NAME: &str = "localhost/naru-e2e:1";
const BUSYBOX: &str = "/bin/busybox";
/// Programs of the image, all of them busybox.
const PROGRAMS: [&str; 3] = ["ping", "sh", "sleep"];

/// Makes the image's archive in `directory`; a container of it sleeps until it is stopped.
///
/// # Errors
/// busybox or tar is missing.
pub fn archive(directory: &Path) -> anyhow::Result<PathBuf> {
    let tree = directory.join("image");
    fs::create_dir_all(tree.join("bin")).context("make the image's tree")?;
    fs::copy(BUSYBOX, tree.join("bin/busybox")).context(BUSYBOX)?;
    for program in PROGRAMS {
        symlink("busybox", tree.join("bin").join(program)).context(program)?;
    }
    of_tree(directory, &[NAME], &[], &["/bin/sleep", "1000000"])
}

/// Makes the archive of an image with these names in `directory`, whose directory `image` has the files.
///
/// # Errors
/// tar is missing.
pub fn of_tree(
    directory: &Path,
    names: &[&str],
    entrypoint: &[&str],
    command: &[&str],
) -> anyhow::Result<PathBuf> {
    let layer = directory.join("layer.tar");
    tar(&layer, &directory.join("image"), &["."])?;
    let digest = self::command(Command::new("sha256sum").arg(&layer))?;
    let digest = digest.split_ascii_whitespace().next().context("sha256sum prints no digest")?;
    let config = json!({
        "architecture": architecture(), "os": "linux",
        "config": {"Entrypoint": entrypoint, "Cmd": command, "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": names, "Layers": ["layer.tar"]}]);
    fs::write(directory.join("config.json"), config.to_string()).context("write config.json")?;
    fs::write(directory.join("manifest.json"), manifest.to_string()).context("write manifest.json")?;
    let archive = directory.join("image.tar");
    tar(&archive, directory, &["manifest.json", "config.json", "layer.tar"])?;
    Ok(archive)
}

/// The architecture's name in images.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn tar(archive: &Path, directory: &Path, names: &[&str]) -> anyhow::Result<()> {
    let mut tar = Command::new("tar");
    tar.args(["--owner=0", "--group=0", "-C"]).arg(directory).arg("-cf").arg(archive).args(names);
    command(&mut tar).map(drop)
}

fn command(command: &mut Command) -> anyhow::Result<String> {
    command
        .output()
        .map_err(anyhow::Error::from)
        .and_then(tool::text)
        .with_context(|| command.get_program().to_string_lossy().into_owned())
}
