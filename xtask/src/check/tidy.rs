//! House rules that a compiler does not know: file sizes, names that say nothing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::workspace::Workspace;

/// The directories of Rust files.
const ROOTS: [&str; 4] = ["ebpf", "userspace", "tests", "xtask"];
/// Most lines of a Rust file.
const FILE_LINES: usize = 500;
const ARCHITECTURE: &str = "ARCHITECTURE.md";
/// Most lines of it.
const ARCHITECTURE_LINES: usize = 250;
/// Names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 7] = ["util", "utils", "common", "helper", "helpers", "misc", "shared"];

/// A sentence for each rule that is broken.
///
/// # Errors
/// A file cannot be read.
pub fn complaints(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let mut complaints = Vec::new();
    let mut sources = String::new();
    for root in ROOTS {
        for file in rust_files(&workspace.root.join(root))? {
            let text = read(&file)?;
            complaints.extend(of_file(file.strip_prefix(&workspace.root).unwrap_or(&file), &text));
            sources.push_str(&text);
        }
    }
    let architecture = read(&workspace.root.join(ARCHITECTURE))?;
    complaints.extend(too_long(ARCHITECTURE, &architecture, ARCHITECTURE_LINES));
    complaints.extend(unheld(&architecture, &sources));
    Ok(complaints)
}

/// Tests that the architecture's invariants rest on, and that are nowhere: quoted sentences of five words and more.
fn unheld(architecture: &str, sources: &str) -> Vec<String> {
    let quoted = architecture.split('`').skip(1).step_by(2);
    let sentences =
        quoted.filter(|text| text.matches('_').count() >= 4 && !text.contains(char::is_whitespace));
    let missing = sentences.filter(|name| !sources.contains(&format!("fn {name}(")));
    missing.map(|name| format!("{ARCHITECTURE}: no test is called {name}")).collect()
}

fn of_file(name: &Path, text: &str) -> Vec<String> {
    let shown = name.display().to_string();
    let mut complaints = Vec::new();
    complaints.extend(too_long(&shown, text, FILE_LINES));
    let parts = name.iter().filter_map(|part| Path::new(part).file_stem()?.to_str());
    complaints.extend(parts.filter(|part| EMPTY_NAMES.contains(part)).map(|part| says_nothing(&shown, part)));
    complaints.extend(text.lines().filter_map(inline_module).map(|part| says_nothing(&shown, part)));
    complaints
}

fn says_nothing(file: &str, name: &str) -> String {
    format!("{file}: module `{name}`: name what it is about")
}

fn too_long(name: &str, text: &str, limit: usize) -> Option<String> {
    let lines = text.lines().count();
    (lines > limit).then(|| format!("{name}: {lines} lines, {limit} at most"))
}

/// The name in `mod name {`, where it says nothing.
fn inline_module(line: &str) -> Option<&str> {
    let rest = line.trim_start().trim_start_matches("pub ").strip_prefix("mod ")?;
    let name = rest.strip_suffix('{')?.trim();
    EMPTY_NAMES.contains(&name).then_some(name)
}

fn rust_files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

fn read(file: &Path) -> anyhow::Result<String> {
    fs::read_to_string(file).with_context(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_over_the_limit_is_named_with_its_size() {
        let text = "\n".repeat(501);
        assert_eq!(of_file(Path::new("a/b.rs"), &text), ["a/b.rs: 501 lines, 500 at most"]);
        assert!(of_file(Path::new("a/b.rs"), &"\n".repeat(500)).is_empty());
    }

    #[test]
    fn an_invariant_whose_test_is_gone_is_named() {
        let text = "| it holds | `this_is_held_by_it`, `not_by_this_one_here` | `two words_of_a_b_c` |";
        let sources = "fn this_is_held_by_it() {}";
        assert_eq!(unheld(text, sources), ["ARCHITECTURE.md: no test is called not_by_this_one_here"]);
    }

    #[test]
    fn modules_without_a_subject_are_refused_as_file_directory_and_block() {
        assert_eq!(of_file(Path::new("a/utils.rs"), "").len(), 1);
        assert_eq!(of_file(Path::new("a/helpers/veth.rs"), "").len(), 1);
        assert_eq!(of_file(Path::new("a/b.rs"), "    pub mod common {").len(), 1);
        assert!(of_file(Path::new("a/veth.rs"), "mod tests {\nuse common;").is_empty());
    }
}
