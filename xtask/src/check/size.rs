//! Sizes and widths: lines of a file, characters of a line, a crate's share of the code.

use std::{collections::BTreeMap, path::Path};

/// Most lines of a Rust file of code.
const CODE_LINES: usize = 400;
/// Largest number of lines of a Rust file of tests. A table of cases is read from top to bottom, and cutting it hides
/// its coverage.
const TEST_LINES: usize = 500;
/// Largest number of characters in a line, in Rust and in Markdown.
const WIDTH: usize = 120;
/// A crate must stay below this share, in percent, of the lines of Rust outside tests.
const SHARE: usize = 20;

/// Returns true if the file of that name below the workspace holds tests only: it lies below a `tests` directory or
/// is the `tests.rs` of a module.
pub fn is_test(name: &Path) -> bool {
    name.iter().any(|part| part == "tests" || part == "tests.rs")
}

/// The complaint about a Rust file of too many lines.
pub fn too_long_for_rust(name: &Path, text: &str) -> Option<String> {
    let (limit, what) =
        if is_test(name) { (TEST_LINES, "a file of tests") } else { (CODE_LINES, "a file of code") };
    let lines = text.lines().count();
    (lines > limit).then(|| {
        let shown = name.display();
        format!("{shown}: {lines} lines; {what} has {limit} at most: split it by subject")
    })
}

/// The complaint about a document of too many lines.
pub fn too_long(name: &str, text: &str, limit: usize) -> Option<String> {
    let lines = text.lines().count();
    (lines > limit).then(|| format!("{name}: {lines} lines, {limit} at most: move details to docs/"))
}

/// A complaint about each line that is too wide.
pub fn too_wide<'a>(name: &'a Path, text: &'a str) -> impl Iterator<Item = String> + 'a {
    let wide = text.lines().enumerate().map(|(index, line)| (index + 1, line.chars().count()));
    wide.filter(|(_, width)| *width > WIDTH).map(|(number, width)| {
        let shown = name.display();
        format!("{shown}:{number}: {width} characters, {WIDTH} at most: break the line by hand")
    })
}

/// Lines of Rust outside tests, by crate.
#[derive(Default)]
pub struct Shares {
    lines: BTreeMap<String, usize>,
}

impl Shares {
    /// Counts a file; those of tests, and the crate of the end-to-end tests, do not count.
    pub fn add(&mut self, name: &Path, text: &str) {
        if is_test(name) {
            return;
        }
        let before_src = name.iter().take_while(|part| *part != "src" && *part != "build.rs");
        let of_crate = before_src.map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/");
        *self.lines.entry(of_crate).or_default() += text.lines().count();
    }

    /// The complaint about each crate that is too large a part of the whole.
    pub fn complaints(&self) -> Vec<String> {
        let all: usize = self.lines.values().sum();
        let too_large = self.lines.iter().filter(|(_, lines)| **lines * 100 >= all * SHARE);
        too_large
            .map(|(name, lines)| {
                format!(
                    "{name}: {lines} of {all} lines outside tests; a crate stays below {SHARE} %: \
                     move a subject to a crate of its own (ARCHITECTURE.md, Crates)"
                )
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_over_the_limit_is_named_with_its_size() {
        let long = "\n".repeat(401);
        let told = too_long_for_rust(Path::new("a/src/b.rs"), &long);
        assert_eq!(
            told.unwrap(),
            "a/src/b.rs: 401 lines; a file of code has 400 at most: split it by subject"
        );
        assert_eq!(too_long_for_rust(Path::new("a/src/b.rs"), &"\n".repeat(400)), None);
    }

    #[test]
    fn files_of_tests_may_be_longer() {
        let long = "\n".repeat(500);
        assert_eq!(too_long_for_rust(Path::new("a/tests/b.rs"), &long), None);
        assert_eq!(too_long_for_rust(Path::new("a/src/b/tests.rs"), &long), None);
        assert!(too_long_for_rust(Path::new("a/tests/b.rs"), &"\n".repeat(501)).is_some());
    }

    #[test]
    fn a_line_that_is_too_wide_is_named_by_its_number_and_counted_in_characters() {
        let text = format!("{}\n{}", "é".repeat(120), "x".repeat(121));
        let told: Vec<_> = too_wide(Path::new("a.md"), &text).collect();
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("a.md:2: 121 characters, 120 at most"), "{told:?}");
    }

    #[test]
    fn a_crate_of_a_fifth_of_the_code_is_named_and_tests_do_not_count() {
        let mut shares = Shares::default();
        for (name, lines) in
            [("a/src/x.rs", 20), ("b/src/x.rs", 19), ("b/src/tests.rs", 99), ("b/tests/x.rs", 99)]
        {
            shares.add(Path::new(name), &"\n".repeat(lines));
        }
        for part in ["c", "d", "e", "f"] {
            shares.add(Path::new(&format!("{part}/src/lib.rs")), &"\n".repeat(16));
        }
        let told = shares.complaints();
        assert_eq!(told.len(), 0, "{told:?}");
        shares.add(Path::new("a/build.rs"), "\n");
        assert!(shares.complaints()[0].starts_with("a: 21 of 104 lines"), "{:?}", shares.complaints());
    }
}
