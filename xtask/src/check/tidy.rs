//! House rules that a compiler does not know: file sizes, names that say nothing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::workspace::Workspace;

/// Where Rust files are.
const ROOTS: [&str; 4] = ["ebpf", "userspace", "tests", "xtask"];
/// Most lines of a Rust file.
const FILE_LINES: usize = 500;
/// Most lines of ARCHITECTURE.md.
const ARCHITECTURE_LINES: usize = 250;
/// Names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 7] = ["util", "utils", "common", "helper", "helpers", "misc", "shared"];

/// A sentence for each rule that is broken.
///
/// # Errors
/// A file cannot be read.
pub fn complaints(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let mut complaints = Vec::new();
    for file in ROOTS
        .iter()
        .map(|root| rust_files(&workspace.root.join(root)))
        .collect::<Result<Vec<_>, _>>()?
        .concat()
    {
        let name = file.strip_prefix(&workspace.root).unwrap_or(&file).to_path_buf();
        complaints.extend(of_file(&name, &read(&file)?));
    }
    let architecture = "ARCHITECTURE.md";
    complaints.extend(too_long(architecture, &read(&workspace.root.join(architecture))?, ARCHITECTURE_LINES));
    Ok(complaints)
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
    fn modules_without_a_subject_are_refused_as_file_directory_and_block() {
        assert_eq!(of_file(Path::new("a/utils.rs"), "").len(), 1);
        assert_eq!(of_file(Path::new("a/helpers/veth.rs"), "").len(), 1);
        assert_eq!(of_file(Path::new("a/b.rs"), "    pub mod common {").len(), 1);
        assert!(of_file(Path::new("a/veth.rs"), "mod tests {\nuse common;").is_empty());
    }
}
