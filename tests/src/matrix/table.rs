//! The matrix as a table.

use super::{Cell, CellResult, Row};

/// Prints the heading.
pub fn print_header() {
    line("PATH", "TRAFFIC", ["V4", "V6", "RESULT"], "BYTES", "DECISION");
}

/// Prints a row; the path only if it differs from that of the row before.
pub fn print_row(row: &Row, first_of_path: bool) {
    let path = if first_of_path { row.path.label() } else { "" };
    let result = match row.failures().len() {
        0 => "ok",
        _ => "FAILED",
    };
    let bytes = (row.v4.bytes + row.v6.bytes).to_string();
    line(path, row.check.label(), [word(&row.v4), word(&row.v6), result], &bytes, &decision(row));
}

/// Prints the failed cells and returns their number.
pub fn print_failures(rows: &[Row]) -> usize {
    let failures: Vec<String> = rows.iter().flat_map(Row::failures).collect();
    for failure in &failures {
        println!("failed: {failure}");
    }
    failures.len()
}

fn line(path: &str, check: &str, [v4, v6, result]: [&str; 3], bytes: &str, decision: &str) {
    println!("{path:<22} {check:<18} {v4:<6} {v6:<6} {result:<7} {bytes:>11}  {decision}");
}

fn word(cell: &Cell) -> &'static str {
    match cell.result {
        CellResult::Passed => "ok",
        CellResult::Failed(_) => "FAILED",
        CellResult::Absent => "-",
    }
}

/// The decisions of both families; of each on its own if they differ.
fn decision(row: &Row) -> String {
    match (row.v4.decision.as_str(), row.v6.decision.as_str()) {
        (v4, v6) if v4 == v6 => v4.to_owned(),
        (v4, "") => v4.to_owned(),
        ("", v6) => v6.to_owned(),
        (v4, v6) => format!("v4: {v4}; v6: {v6}"),
    }
}
