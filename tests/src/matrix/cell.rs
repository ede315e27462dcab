//! One cell: a check over a path in one family.

use super::{
    Check, Mode, Path, Plan,
    check::{Question, is_carried},
};
use crate::{cni::TestPod, counters::Counters, lab::Lab};

/// The result of a cell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CellResult {
    /// The traffic behaved as it must.
    Passed,
    /// It did not, for this reason.
    Failed(String),
    /// The lab has no addresses of the family on this path.
    Absent,
}

/// A filled cell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cell {
    /// The result.
    pub result: CellResult,
    /// Bytes carried.
    pub bytes: u64,
    /// The decisions of the datapath, by its counters.
    pub decision: String,
}

/// A check over a path in both families.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The path.
    pub path: Path,
    /// The check.
    pub check: Check,
    /// IPv4.
    pub v4: Cell,
    /// IPv6.
    pub v6: Cell,
}

impl Row {
    /// A line for each failed cell.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        let line = |(family, cell): (&str, &Cell)| match &cell.result {
            CellResult::Failed(why) => Some(format!(
                "{}, {}, {family}: {why} [{}]",
                self.path.label(),
                self.check.label(),
                cell.decision
            )),
            _ => None,
        };
        [("v4", &self.v4), ("v6", &self.v6)].into_iter().filter_map(line).collect()
    }
}

/// Fills one cell.
pub fn run(lab: &Lab, plan: &Plan, path: Path, check: Check, v6: bool, big: Option<&TestPod>) -> Cell {
    match question(lab, plan, path, v6, big) {
        Ok(Some(question)) => ask(&question, check),
        Ok(None) => Cell { result: CellResult::Absent, bytes: 0, decision: String::new() },
        Err(error) => failed(&error, String::new()),
    }
}

fn question<'a>(
    lab: &'a Lab,
    plan: &'a Plan,
    path: Path,
    v6: bool,
    big: Option<&'a TestPod>,
) -> anyhow::Result<Option<Question<'a>>> {
    let (from, to) = path.ends();
    // Routers without an address of the family cannot send ICMP errors of it.
    for router in path.routers() {
        if lab.host(router, v6)?.is_none() {
            return Ok(None);
        }
    }
    let (Some(from), Some(to)) = (lab.host(from, v6)?, lab.host(to, v6)?) else { return Ok(None) };
    Ok(Some(Question { lab, plan, path, v6, from, to, big }))
}

fn ask(question: &Question<'_>, check: Check) -> Cell {
    let result = Counters::sum(&question.lab.nodes).and_then(|before| {
        let made = check.make(question);
        let moved = Counters::sum(&question.lab.nodes)?.since(&before);
        let carried =
            if check.is_bulk() { is_carried(question.path, Mode::of(question.lab), &moved) } else { Ok(()) };
        Ok((made.and_then(|bytes| carried.map(|()| bytes)), moved.to_string()))
    });
    match result {
        Ok((Ok(bytes), decision)) => Cell { result: CellResult::Passed, bytes, decision },
        Ok((Err(error), decision)) => failed(&error, decision),
        Err(error) => failed(&error, String::new()),
    }
}

fn failed(error: &anyhow::Error, decision: String) -> Cell {
    Cell { result: CellResult::Failed(format!("{error:#}")), bytes: 0, decision }
}
