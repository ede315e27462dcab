//! The result of a run of `cargo test`, read from the closing lines of its test binaries.

use std::{
    fmt,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context;

/// Sums over the test binaries of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    what: String,
    /// Tests that passed.
    pub passed: u32,
    broken: u32,
    success: bool,
    since: Option<Instant>,
    took: Duration,
}

impl Tally {
    /// Runs `command`, shows its output and counts its tests.
    ///
    /// # Errors
    /// The command cannot be run. A failing test is no error here: see [`Tally::failed`].
    pub fn of(what: &str, command: &mut Command) -> anyhow::Result<Self> {
        Self::with(what, command, |line| println!("{line}"))
    }

    /// Where the run of this name stands among `tallies`; one that is not there begins now, with sums of nothing.
    pub fn place(tallies: &mut Vec<Self>, what: &str) -> usize {
        tallies.iter().position(|tally| tally.what == what).unwrap_or_else(|| {
            let since = Some(Instant::now());
            tallies.push(Self { what: what.to_owned(), success: true, since, ..Self::default() });
            tallies.len() - 1
        })
    }

    /// Adds the sums of one binary, and the time until now.
    pub fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.broken += other.broken;
        self.success &= other.success;
        self.took = self.since.map_or(self.took + other.took, |since| since.elapsed());
    }

    /// As [`Tally::of`] beside other runs: the output comes along, whole, to be shown at its end.
    ///
    /// # Errors
    /// As [`Tally::of`].
    pub fn beside(what: &str, command: &mut Command) -> anyhow::Result<(Self, String)> {
        let mut output = String::new();
        let tally = Self::with(what, command, |line| {
            output.push_str(line);
            output.push('\n');
        })?;
        Ok((tally, output))
    }

    fn with(what: &str, command: &mut Command, mut show: impl FnMut(&str)) -> anyhow::Result<Self> {
        let start = Instant::now();
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("run cargo test")?;
        let mut tally = Self { what: what.to_owned(), ..Self::default() };
        for line in BufReader::new(child.stdout.take().context("cargo test: no stdout")?).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            show(&line);
            tally.count(&line);
        }
        tally.success = child.wait().context("cargo test")?.success();
        tally.took = start.elapsed();
        Ok(tally)
    }

    /// True if a test failed or a test binary did not come to its end.
    #[must_use]
    pub fn failed(&self) -> bool {
        !self.success || self.broken > 0
    }

    fn count(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        for part in result.split(['.', ';']) {
            let mut words = part.split_ascii_whitespace();
            let (Some(Ok(number)), Some(word)) = (words.next().map(str::parse::<u32>), words.next()) else {
                continue;
            };
            match word {
                "passed" => self.passed += number,
                "failed" => self.broken += number,
                _ => {}
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.failed() { "FAILED" } else { "ok" };
        let seconds = self.took.as_secs_f64();
        write!(f, "{}: {verdict}, {} passed, {} failed, {seconds:.1} s", self.what, self.passed, self.broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_several_binaries_add_up() {
        let mut tally = Tally { success: true, ..Tally::default() };
        tally.count("running 3 tests");
        tally.count(
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.10s",
        );
        tally.count(
            "test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s",
        );
        assert_eq!((tally.passed, tally.broken, tally.failed()), (7, 0, false));
    }

    #[test]
    fn a_failing_test_and_a_binary_that_died_are_both_failures() {
        let mut tally = Tally { success: true, ..Tally::default() };
        tally.count(
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0s",
        );
        assert!(tally.failed());
        assert!(Tally { success: false, ..Tally::default() }.failed());
    }
}
