//! The traffic matrix: every path, every kind of traffic, both families.

mod cell;
mod check;
mod path;
mod saved;
mod table;

use anyhow::Context;
use serde_json::json;

pub use cell::{Cell, CellResult, Row};
pub use check::Check;
pub use path::{Mode, Path};
pub use saved::json;
pub use table::{print_failures, print_header, print_row};

use crate::{cni::TestPod, lab::Lab};

/// MTU of the pod that sends packets too big for any path, in bytes.
const BIG_MTU: u32 = 1600;

/// The amount of traffic of a run, and its checks.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Bytes of each TCP stream from client to server; a quarter of it comes back.
    pub stream: u64,
    /// The checks, in order.
    pub checks: Vec<Check>,
    /// The paths, in order.
    pub paths: Vec<Path>,
}

impl Default for Plan {
    fn default() -> Self {
        Self { stream: 4 << 20, checks: Check::ALL.to_vec(), paths: Path::ALL.to_vec() }
    }
}

impl Plan {
    /// Streams of `bytes` and small pings over every path.
    #[must_use]
    pub fn streams(bytes: u64) -> Self {
        Self { stream: bytes, checks: vec![Check::Ping, Check::Tcp], paths: Path::ALL.to_vec() }
    }

    /// The traffic for a variant of the set-up: 64 MiB a path; with `NARU_SOAK` set, every check with 1 GiB.
    #[must_use]
    pub fn variant() -> Self {
        if std::env::var_os("NARU_SOAK").is_some_and(|value| !value.is_empty() && value != "0") {
            Self { stream: 1 << 30, ..Self::default() }
        } else {
            Self::streams(64 << 20)
        }
    }
}

/// Runs `plan` over `lab` and reports each row as it is done.
///
/// # Errors
/// The matrix cannot be run; a failed cell is part of the rows.
pub fn run(lab: &Lab, plan: &Plan, mut tell: impl FnMut(&Row)) -> anyhow::Result<Vec<Row>> {
    let needs_big = plan.checks.contains(&Check::TooBig);
    let big = needs_big.then(|| TestPod::add(lab, "n1", "big", &json!({"mtu": BIG_MTU}))).transpose();
    let big = big.context("a pod with a larger MTU")?;
    let mut rows = Vec::new();
    for path in &plan.paths {
        for check in &plan.checks {
            let row = Row {
                path: *path,
                check: *check,
                v4: cell::run(lab, plan, *path, *check, false, big.as_ref()),
                v6: cell::run(lab, plan, *path, *check, true, big.as_ref()),
            };
            tell(&row);
            rows.push(row);
        }
    }
    Ok(rows)
}

/// Runs `plan` and fails with every cell that failed.
///
/// # Errors
/// A cell failed, or none was run.
pub fn must_pass(lab: &Lab, plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let rows = run(lab, plan, |_| {})?;
    let failures: Vec<String> = rows.iter().flat_map(Row::failures).collect();
    anyhow::ensure!(failures.is_empty(), "{} cells failed:\n{}", failures.len(), failures.join("\n"));
    let passed =
        rows.iter().flat_map(|row| [&row.v4, &row.v6]).filter(|cell| cell.result == CellResult::Passed);
    anyhow::ensure!(passed.count() >= plan.checks.len(), "hardly a cell of the matrix was run");
    Ok(rows)
}
