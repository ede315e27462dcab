//! House rules that a compiler does not know: sizes, widths, names without meaning, documents with gaps.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::size::{Shares, too_long, too_long_for_rust, too_wide};
use crate::workspace::Workspace;

/// Directories with Rust files.
const ROOTS: [&str; 4] = ["ebpf", "userspace", "tests", "xtask"];
const ARCHITECTURE: &str = "ARCHITECTURE.md";
/// Most lines of it.
const ARCHITECTURE_LINES: usize = 250;
/// Directory of decisions, a page each.
const DECISIONS: &str = "docs/decisions";
/// The page that lists the others.
const INDEX: &str = "README.md";
/// Names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 7] = ["util", "utils", "common", "helper", "helpers", "misc", "shared"];

/// A sentence for each rule that is broken.
///
/// # Errors
/// A file cannot be read.
pub fn complaints(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let mut complaints = Vec::new();
    let mut sources = String::new();
    let mut shares = Shares::default();
    for root in ROOTS {
        for file in files(&workspace.root.join(root), "rs")? {
            let text = read(&file)?;
            let name = file.strip_prefix(&workspace.root).unwrap_or(&file);
            complaints.extend(of_file(name, &text));
            shares.add(name, &text);
            sources.push_str(&text);
        }
    }
    complaints.extend(shares.complaints());
    complaints.extend(of_documents(workspace, &sources)?);
    Ok(complaints)
}

fn of_documents(workspace: &Workspace, sources: &str) -> anyhow::Result<Vec<String>> {
    let mut complaints = Vec::new();
    for file in files(&workspace.root, "md")? {
        let name = file.strip_prefix(&workspace.root).unwrap_or(&file);
        complaints.extend(too_wide(name, &read(&file)?));
    }
    let architecture = read(&workspace.root.join(ARCHITECTURE))?;
    complaints.extend(too_long(ARCHITECTURE, &architecture, ARCHITECTURE_LINES));
    complaints.extend(unheld(&architecture, sources));
    let decisions = workspace.root.join(DECISIONS);
    let pages = files(&decisions, "md")?;
    let pages = pages.iter().filter_map(|page| page.file_name()?.to_str()).collect::<Vec<_>>();
    complaints.extend(unlisted(&read(&decisions.join(INDEX))?, &pages));
    Ok(complaints)
}

/// Decisions that the index does not link to.
fn unlisted(index: &str, pages: &[&str]) -> Vec<String> {
    let missing = pages.iter().filter(|page| **page != INDEX && !index.contains(&format!("({page})")));
    missing.map(|page| format!("{DECISIONS}/{INDEX}: add a line for {page}")).collect()
}

/// Returns tests on which the architecture's invariants rest, and that do not exist: quoted sentences of five words or
/// more.
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
    complaints.extend(too_long_for_rust(name, text));
    complaints.extend(too_wide(name, text));
    complaints.extend(text.lines().filter(|line| is_example(line)).map(|_| unrun(&shown)));
    let parts = name.iter().filter_map(|part| Path::new(part).file_stem()?.to_str());
    complaints.extend(parts.filter(|part| EMPTY_NAMES.contains(part)).map(|part| says_nothing(&shown, part)));
    complaints.extend(text.lines().filter_map(inline_module).map(|part| says_nothing(&shown, part)));
    complaints
}

/// True for a line of documentation that opens or closes an example.
fn is_example(line: &str) -> bool {
    let line = line.trim_start();
    let text = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
    text.is_some_and(|text| text.trim_start().starts_with("```"))
}

fn unrun(file: &str) -> String {
    format!("{file}: example in a doc comment: make it a test, as rustdoc's runs are off (doctest = false)")
}

fn says_nothing(file: &str, name: &str) -> String {
    format!("{file}: module `{name}`: name what it is about")
}

/// The name in `mod name {`, where it says nothing.
fn inline_module(line: &str) -> Option<&str> {
    let rest = line.trim_start().trim_start_matches("pub ").strip_prefix("mod ")?;
    let name = rest.strip_suffix('{')?.trim();
    EMPTY_NAMES.contains(&name).then_some(name)
}

/// Files of that extension below `directory`; what cargo builds and what is hidden is left out.
fn files(directory: &Path, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                found.extend(files(&path, extension)?);
            }
        } else if path.extension().is_some_and(|one| one == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn read(file: &Path) -> anyhow::Result<String> {
    fs::read_to_string(file).with_context(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invariant_whose_test_is_gone_is_named() {
        let text = "| it holds | `this_is_held_by_it`, `not_by_this_one_here` | `two words_of_a_b_c` |";
        let sources = "fn this_is_held_by_it() {}";
        assert_eq!(unheld(text, sources), ["ARCHITECTURE.md: no test is called not_by_this_one_here"]);
    }

    #[test]
    fn a_decision_that_the_index_does_not_link_to_is_named() {
        let index = "| [0001](0001-a.md) | a |";
        let told = unlisted(index, &["0001-a.md", "0002-b.md", "README.md"]);
        assert_eq!(told, ["docs/decisions/README.md: add a line for 0002-b.md"]);
    }

    #[test]
    fn an_example_that_nobody_would_run_is_refused() {
        assert_eq!(of_file(Path::new("a/veth.rs"), "/// ```\n/// f();\n/// ```").len(), 2);
        assert!(of_file(Path::new("a/veth.rs"), "/// `f` is called.\nlet text = \"```\";").is_empty());
    }

    #[test]
    fn modules_without_a_subject_are_refused_as_file_directory_and_block() {
        assert_eq!(of_file(Path::new("a/utils.rs"), "").len(), 1);
        assert_eq!(of_file(Path::new("a/helpers/veth.rs"), "").len(), 1);
        assert_eq!(of_file(Path::new("a/b.rs"), "    pub mod common {").len(), 1);
        assert!(of_file(Path::new("a/veth.rs"), "mod tests {\nuse common;").is_empty());
    }
}
