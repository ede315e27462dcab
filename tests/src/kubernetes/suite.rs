//! Kubernetes' own end-to-end tests, run against a cluster.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::Stdio,
};

use anyhow::{Context, ensure};

use super::{Cluster, Image, agnhost};
use crate::tool;

/// The outcome of a run, by the suite's own count.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Specs that passed.
    pub passed: u32,
    /// Names of specs that failed.
    pub failed: BTreeSet<String>,
}

/// Names of images that the program of Kubernetes' tests stands in for: those of web servers and shells, and the one
/// that does nothing.
const LIKE_AGNHOST: [&str; 7] = [
    "/agnhost:",
    "/busybox:",
    "/nginx:",
    "/httpd:",
    "/distroless-iptables:",
    "/glibc-dns-testing:",
    "/pause:",
];

/// Imports the images that specs of the network ask for.
///
/// # Errors
/// The suite does not say which, or a node refuses one.
pub fn import_images(cluster: &Cluster) -> anyhow::Result<()> {
    let programs = cluster.plane().programs();
    let list = std::process::Command::new(programs.path("e2e.test")).arg("--list-images").output();
    let list = tool::text(list.context("e2e.test")?)?;
    let of = |names: &[&str]| -> Vec<&str> {
        list.lines().filter(|image| names.iter().any(|name| image.contains(name))).collect()
    };
    let regression = Image {
        names: of(&["/regression-issue-74839:"]),
        files: vec![("regression-issue-74839", programs.path("regression-issue-74839"))],
        entrypoint: vec!["/regression-issue-74839"],
        ..Image::default()
    };
    let directory = cluster.directory().join("images");
    let archives: [PathBuf; 2] = [
        agnhost(of(&LIKE_AGNHOST), &directory, programs)?.write(&directory, "suite")?,
        regression.write(&directory, "regression")?,
    ];
    for node in cluster.nodes() {
        archives.iter().try_for_each(|archive| node.import(archive))?;
    }
    Ok(())
}

/// Runs the specs whose names match `focus` and do not match `skip`; prints the end of each as it comes.
///
/// # Errors
/// The suite cannot be run, or runs nothing.
pub fn run(cluster: &Cluster, focus: &str, skip: &str) -> anyhow::Result<Outcome> {
    let plane = cluster.plane();
    let server = plane.servers().first().context("no API server")?.address();
    let kubeconfig = plane.kubeconfig("suite.kubeconfig", server)?;
    let report = cluster.directory().join("suite.xml");
    let mut command = cluster.beside_the_control_plane("e2e.test");
    command
        .args([
            "--provider=local",
            "--num-nodes=2",
            "--allowed-not-ready-nodes=0",
            "--ginkgo.no-color",
            "--ginkgo.v",
        ])
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!("--kubectl-path={}", plane.programs().path("kubectl").display()))
        .arg(format!("--ginkgo.focus={focus}"))
        .arg(format!("--ginkgo.junit-report={}", report.display()));
    if !skip.is_empty() {
        command.arg(format!("--ginkgo.skip={skip}"));
    }
    let log = cluster.directory().join("suite.log");
    command.stdout(Stdio::piped()).stderr(File::create(&log).with_context(|| log.display().to_string())?);
    let mut suite = command.spawn().context("e2e.test")?;
    let said = follow(BufReader::new(suite.stdout.take().context("e2e.test: no output")?))?;
    suite.wait().context("e2e.test")?;
    let count = said.lines().rev().find(|line| line.contains(" Passed | ")).with_context(|| last(&said))?;
    let outcome = Outcome { passed: number_before(count, " Passed")?, failed: failures(&said) };
    ensure!(outcome.passed > 0 || !outcome.failed.is_empty(), "no spec ran: {}", last(&said));
    let failed = number_before(count, " Failed")?;
    ensure!(
        failed as usize == outcome.failed.len(),
        "{failed} failed, of which {:?} are named",
        outcome.failed
    );
    Ok(outcome)
}

/// The expression that matches these specs, by the names that [`Outcome`] has of them.
#[must_use]
pub fn focus(specs: &BTreeSet<String>) -> String {
    let quoted = |spec: &String| {
        // The summary has the kind of node in the name, and labels behind it.
        let name = spec.replace(" [It] ", " ");
        let name = name.rsplit_once(" [sig-").map_or(name.as_str(), |(name, _)| name);
        let letters = name.chars().map(|letter| match letter {
            letter if letter.is_alphanumeric() || letter == ' ' => letter.to_string(),
            _ => ".".to_owned(),
        });
        letters.collect::<String>()
    };
    specs.iter().map(quoted).collect::<Vec<_>>().join("|")
}

/// Reads what the suite says to its end, and prints a line for each spec; of one that failed, all that it said.
fn follow(output: impl BufRead) -> anyhow::Result<String> {
    let (mut said, mut spec) = (String::new(), Vec::new());
    for line in output.split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line).into_owned();
        said = said + &line + "\n";
        if line.starts_with("[sig-") {
            spec.clear();
        }
        if let Some(end) = line.strip_prefix("\u{2022} ") {
            println!("{end} {}", spec.first().map(String::as_str).unwrap_or_default());
            if end.starts_with("[FAILED]") {
                spec.iter().for_each(|line| println!("{line}"));
            }
        }
        spec.push(line);
    }
    Ok(said)
}

/// The number before a word: `47 Passed | 0 Failed`.
fn number_before(line: &str, word: &str) -> anyhow::Result<u32> {
    let before = line.split(word).next().unwrap_or_default();
    let digits = before.rsplit(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().with_context(|| line.to_owned())
}

/// Names of the specs in the summary of failures.
fn failures(said: &str) -> BTreeSet<String> {
    said.lines().filter_map(|line| line.trim().strip_prefix("[FAIL] ")).map(str::to_owned).collect()
}

fn last(said: &str) -> String {
    let lines: Vec<_> = said.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_specs_are_chosen_by_their_names() {
        let spec = "[sig-network] DNS [It] should (not) work [Conformance] [sig-network, Conformance]";
        let chosen = focus(&BTreeSet::from([spec.to_owned()]));
        assert_eq!(chosen, ".sig.network. DNS should .not. work .Conformance.");
    }

    #[test]
    fn all_that_the_suite_says_is_kept() {
        let said = "[sig-network] DNS should work\n  STEP: ask\n\u{2022} [4.1 seconds]\n";
        assert_eq!(follow(said.as_bytes()).unwrap(), said);
    }

    #[test]
    fn the_suites_own_count_is_read() {
        let line = "FAIL! -- 46 Passed | 1 Failed | 0 Pending | 7000 Skipped";
        assert_eq!(number_before(line, " Passed").unwrap(), 46);
        assert_eq!(number_before(line, " Failed").unwrap(), 1);
        let said = "Summarizing 1 Failure:\n  [FAIL] [sig-network] DNS [It] should work\n  x.go:1\n";
        assert_eq!(failures(said), BTreeSet::from(["[sig-network] DNS [It] should work".to_owned()]));
    }
}
