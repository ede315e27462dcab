use std::{net::IpAddr, thread, time::Duration};

use naru_core::reconcile::{Finding, Pass, Policy};
use naru_node::{
    endpoint::{Tools, examine, reconcile},
    host,
    machine::NodeFacts,
    paths::Paths,
};
use serde::Serialize;

use super::{CheckArgs, view};
use crate::report::{Table, print_json};

/// Time from the first look to the second one: an ADD or DEL under way takes less.
const SECOND_LOOK: Duration = Duration::from_millis(500);

/// One line of `naru ipam check`; with `--json` a list of these.
#[derive(Serialize)]
struct Line {
    /// `leak`, `duplicate`, `stranger` or `missing`.
    kind: &'static str,
    /// The address; null for a veth without one.
    address: Option<IpAddr>,
    /// The difference in words.
    finding: String,
    /// True if it is gone since; always false without `--repair`.
    repaired: bool,
}

/// Looks for faults, repairs them if asked, and prints them. Returns true if none is left.
pub fn run(paths: &Paths, args: &CheckArgs) -> anyhow::Result<bool> {
    let (node, mut tools) = view::open(paths)?;
    let found = lasting(&tools)?;
    let left = match args.repair && !found.is_empty() {
        true => repair(&mut tools, &node)?,
        false => found.clone(),
    };
    let repaired =
        found.into_iter().filter(|finding| !left.contains(finding)).map(|finding| line(finding, true));
    let lines: Vec<Line> = repaired.chain(left.iter().cloned().map(|finding| line(finding, false))).collect();
    print(&lines, args)?;
    Ok(left.is_empty())
}

/// Returns the differences that two looks both show, as pods come and go in between.
fn lasting(tools: &Tools) -> anyhow::Result<Vec<Finding>> {
    let mut found = look(tools)?;
    if !found.is_empty() {
        thread::sleep(SECOND_LOOK);
        let again = look(tools)?;
        found.retain(|finding| again.contains(finding));
    }
    Ok(found)
}

fn look(tools: &Tools) -> anyhow::Result<Vec<Finding>> {
    Ok(examine(tools, Policy::default(), host::now())?)
}

/// Makes a pass as the agent does, and a second one if something is to be removed; then rebuilds the index of free
/// addresses from the rows. Returns the faults that are left.
fn repair(tools: &mut Tools, node: &NodeFacts) -> anyhow::Result<Vec<Finding>> {
    let policy = Policy::default();
    let (report, seen) = reconcile::pass(tools, node, policy, &Pass::default(), host::now())?;
    complain(&report);
    if seen.suspects() > 0 {
        thread::sleep(Duration::from_millis(policy.gap));
        complain(&reconcile::pass(tools, node, policy, &seen, host::now())?.0);
    }
    tools.store.mend_index()?;
    lasting(tools)
}

fn complain(report: &reconcile::Report) {
    for (action, cause) in &report.failed {
        errln!("naru: {action}: {cause}");
    }
}

fn line(finding: Finding, repaired: bool) -> Line {
    Line { kind: finding.kind.label(), address: finding.address, finding: finding.what, repaired }
}

fn print(lines: &[Line], args: &CheckArgs) -> anyhow::Result<()> {
    if args.output.json {
        return print_json(&lines);
    }
    if lines.is_empty() {
        outln!("store and kernel agree");
        return Ok(());
    }
    let mut table = Table::new(&["KIND", "IP", "FINDING"]);
    for line in lines {
        let ip = line.address.map_or_else(|| "-".to_owned(), |ip| ip.to_string());
        let repaired = if line.repaired { " (repaired)" } else { "" };
        table.row(vec![line.kind.to_owned(), ip, format!("{}{repaired}", line.finding)]);
    }
    out!("{table}");
    Ok(())
}
