//! Subjects of commits.

use std::process::Command;

use anyhow::Context;

use crate::{run, workspace::Workspace};

/// Largest number of characters in a commit's subject: lists of commits cut off the rest.
const WIDTH: usize = 72;
/// Time from which the rule holds; older commits stay as they are.
const SINCE: &str = "2026-11-30T19:20:00Z";

/// A sentence for each commit since then whose subject is too wide.
///
/// # Errors
/// The workspace is no git checkout, or git cannot be run.
pub fn complaints(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let mut log = Command::new("git");
    log.current_dir(&workspace.root);
    // CI runs as root on a checkout that another user made.
    log.args(["-c", "safe.directory=*", "log", "--format=%h %s"]).arg(format!("--since={SINCE}"));
    let commits = run::output(&mut log).context("read the subjects of commits")?;
    Ok(commits.lines().filter_map(too_wide).collect())
}

/// The complaint about a line `hash subject`.
fn too_wide(commit: &str) -> Option<String> {
    let (hash, subject) = commit.split_once(' ')?;
    let width = subject.chars().count();
    (width > WIDTH).then(|| {
        format!("commit {hash}: subject of {width} characters, {WIDTH} at most: git commit --amend or git rebase -i")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_over_the_limit_is_named_with_its_commit() {
        assert_eq!(too_wide(&format!("0123abc {}", "é".repeat(72))), None);
        let told = too_wide(&format!("0123abc {}", "x".repeat(73))).unwrap();
        assert!(told.starts_with("commit 0123abc: subject of 73 characters, 72 at most"), "{told}");
    }
}
