//! The matrix for programs.

use serde_json::{Value, json};

use super::{Cell, CellResult, Row};

/// All cells, each as `{"path": "pod to pod, one node", "check": "ping", "protocol": "icmp", "family": "v4",
/// "result": "passed", "why": "", "bytes": 560}`; `result` is `passed`, `failed` or `absent`.
#[must_use]
pub fn json(rows: &[Row]) -> Value {
    let both = |row: &Row| [cell(row, "v4", &row.v4), cell(row, "v6", &row.v6)];
    Value::Array(rows.iter().flat_map(both).collect())
}

fn cell(row: &Row, family: &str, cell: &Cell) -> Value {
    let (result, why) = match &cell.result {
        CellResult::Passed => ("passed", ""),
        CellResult::Failed(why) => ("failed", why.as_str()),
        CellResult::Absent => ("absent", ""),
    };
    json!({
        "path": row.path.label(),
        "check": row.check.label(),
        "protocol": row.check.protocol(),
        "family": family,
        "result": result,
        "why": why,
        "bytes": cell.bytes,
    })
}
